package fidelity

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tapedeck/capture"
	"tapedeck/capture/rules"
	"tapedeck/internal/nettest"
)

const (
	// insideVariable makes this test run inside a network namespace; it names
	// that of the origins.
	insideVariable = "TAPEDECK_TEST_OUTSIDE"
	modeVariable   = "TAPEDECK_TEST_MODE"

	transparentPort = 15001
	mark            = 0x99 // of connections that are not redirected
)

// TestTransparentModeChangesNothing: redirected by the kernel, in both ways, an
// origin is sent the same bytes, and net/http answers the same.
func TestTransparentModeChangesNothing(t *testing.T) {
	if outside := os.Getenv(insideVariable); outside != "" {
		sameBehindRedirection(t, outside)
		return
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	n := nettest.New(t)
	for _, mode := range []string{"redirect", "tproxy"} {
		t.Run(mode, func(t *testing.T) {
			script, err := (&rules.Rules{Listen: transparentPort, TProxy: mode == "tproxy", UID: 4242, Fwmark: mark, Outbound: true}).NFT()
			if err != nil {
				t.Fatal(err)
			}
			n.Apply(t, script, "add")
			defer n.Apply(t, script, "remove")
			argv := n.Exec(self, "-test.v", "-test.run", "^TestTransparentModeChangesNothing$")
			cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
			cmd.Env = append(os.Environ(), insideVariable+"="+n.Outside, modeVariable+"="+mode)
			out, err := cmd.CombinedOutput()
			if t.Logf("%s", out); err != nil {
				t.Error(err)
			}
		})
	}
}

func sameBehindRedirection(t *testing.T, outside string) {
	all := cases()
	s := &socket{nettest.Listen(t, outside)}
	origin := nettest.Listen(t, outside)
	serveGo(t, origin, time.Minute)
	at := func(l net.Listener) string {
		return fmt.Sprintf("%s:%d", nettest.OutsideAddress, l.Addr().(*net.TCPAddr).Port)
	}
	c := startWith(t, capture.Config{Transparent: []string{fmt.Sprint(transparentPort)}, TransparentMode: os.Getenv(modeVariable), Fwmark: mark})
	for i, k := range all {
		if err := s.check(at(s.l), k, scriptOf(i)); err != nil {
			t.Errorf("%s: %v", k.name, err)
		}
	}
	direct := func() (net.Conn, error) { return (&net.Dialer{Control: marked}).Dial("tcp", at(origin)) }
	var n comparison
	some(all, finish, func(k *talk) {
		if err := n.ways(k, direct, plainly(at(origin))); err != nil {
			t.Error(err)
		}
	})
	c.mustBeWhole(len(all) + int(n.cases.Load()))
}

// marked gives a socket the mark that the rules leave alone.
func marked(_, _ string, raw syscall.RawConn) (err error) {
	if e := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark) }); e != nil {
		return e
	}
	return err
}
