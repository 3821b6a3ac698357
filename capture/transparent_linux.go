package capture

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"unsafe"

	"tapedeck/internal/service"
)

// Of the kernel's headers, not in package syscall.
const (
	soOriginalDst     = 80 // netfilter_ipv4.h, and IP6T_SO_ORIGINAL_DST
	ipv6Transparent   = 75 // in6.h
	capNetAdminNeeded = "it needs CAP_NET_ADMIN: run as root, or give the binary or container this one capability"
)

// original is where the client of c was going: what the connection was
// redirected from, or with TPROXY its own local address.
func original(c *net.TCPConn, tproxy bool) (netip.AddrPort, error) {
	here := plainAddress(c.LocalAddr())
	if tproxy {
		return here, nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return netip.AddrPort{}, err
	}
	var to netip.AddrPort
	var optErr error
	err = raw.Control(func(fd uintptr) { to, optErr = redirectedFrom(int(fd), here.Addr().Is4()) })
	if errors.Is(optErr, syscall.ENOENT) {
		return netip.AddrPort{}, errNotRedirected
	}
	if err := errors.Join(err, optErr); err != nil {
		return netip.AddrPort{}, fmt.Errorf("original destination: %w", err)
	}
	return to, nil
}

// redirectedFrom asks connection tracking. Package syscall has no call for this
// option; those used here return as many bytes as it needs.
func redirectedFrom(fd int, v4 bool) (netip.AddrPort, error) {
	if !v4 {
		info, err := syscall.GetsockoptIPv6MTUInfo(fd, syscall.SOL_IPV6, soOriginalDst) // begins with a sockaddr_in6
		if err != nil {
			return netip.AddrPort{}, err
		}
		return netip.AddrPortFrom(netip.AddrFrom16(info.Addr.Addr), bigEndian(info.Addr.Port)), nil
	}
	mreq, err := syscall.GetsockoptIPv6Mreq(fd, syscall.SOL_IP, soOriginalDst) // 20 bytes for a sockaddr_in of 16
	if err != nil {
		return netip.AddrPort{}, err
	}
	b := mreq.Multiaddr
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), uint16(b[2])<<8|uint16(b[3])), nil
}

// bigEndian reads a port that lies in memory in network order.
func bigEndian(port uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(&port))
	return uint16(b[0])<<8 | uint16(b[1])
}

type control = func(network, address string, raw syscall.RawConn) error

// transparentControl lets a listener take connections to addresses that are
// not this machine's.
func transparentControl(tproxy bool) control {
	if !tproxy {
		return nil
	}
	return func(network, _ string, raw syscall.RawConn) error {
		return onSocket(raw, "--transparent-mode tproxy", func(fd int) error {
			if strings.HasSuffix(network, "6") {
				if err := syscall.SetsockoptInt(fd, syscall.SOL_IPV6, ipv6Transparent, 1); err != nil {
					return err
				}
			}
			return syscall.SetsockoptInt(fd, syscall.SOL_IP, syscall.IP_TRANSPARENT, 1)
		})
	}
}

// markControl marks our own connections for the rules.
func markControl(mark uint32) control {
	if mark == 0 {
		return nil
	}
	return func(_, _ string, raw syscall.RawConn) error {
		return onSocket(raw, "--fwmark", func(fd int) error {
			return syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_MARK, int(mark))
		})
	}
}

func onSocket(raw syscall.RawConn, flag string, do func(fd int) error) error {
	var optErr error
	err := raw.Control(func(fd uintptr) { optErr = do(int(fd)) })
	if errors.Is(optErr, syscall.EPERM) {
		return service.Hint(fmt.Errorf("%s: %w", flag, optErr), capNetAdminNeeded)
	}
	return errors.Join(err, optErr)
}

// checkModes finds out at once what would fail with the first connection.
func checkModes(cfg *Config) error {
	if cfg.Fwmark == 0 {
		return nil
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("--fwmark: %w", err)
	}
	defer syscall.Close(fd)
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_MARK, int(cfg.Fwmark)); err != nil {
		return service.Hint(fmt.Errorf("--fwmark: %w", err), capNetAdminNeeded)
	}
	return nil
}
