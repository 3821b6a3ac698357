//go:build !linux

package capture

import (
	"errors"
	"net"
	"net/netip"
	"runtime"
	"syscall"

	"tapedeck/internal/service"
)

type control = func(network, address string, raw syscall.RawConn) error

func transparentControl(bool) control { return nil }

func markControl(uint32) control { return nil }

func original(*net.TCPConn, bool) (netip.AddrPort, error) { return netip.AddrPort{}, errNotRedirected }

// checkModes says what only Linux can do.
func checkModes(cfg *Config) error {
	const hint = "use --inbound LISTEN=UPSTREAM and --outbound LISTEN here"
	switch {
	case len(cfg.Transparent) > 0:
		return service.Hint(errors.New("--transparent works on Linux only, not on "+runtime.GOOS), hint)
	case cfg.Fwmark != 0:
		return service.Hint(errors.New("--fwmark works on Linux only, not on "+runtime.GOOS), hint)
	}
	return nil
}
