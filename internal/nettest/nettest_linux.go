// Package nettest makes network namespaces for tests of the transparent mode.
package nettest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Network is a machine (Inside) and the rest of the world (Outside), each a
// network namespace, joined by a cable. Servers of the test listen outside;
// programs are run inside, where World is the name of outside.
type Network struct{ Inside, Outside string }

// World is the name of outside for programs inside.
const World = "world.example"

const (
	insideAddress = "10.81.0.1"
	// OutsideAddress is what World stands for.
	OutsideAddress = "10.81.0.2"
)

// New makes a network that ends with the test. A test without the right to
// skips; one without the tools skips, and fails with REQUIRE_SERVICES=1.
func New(t testing.TB) *Network {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	for _, tool := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(tool); err != nil && os.Getenv("REQUIRE_SERVICES") == "1" {
			t.Fatalf("%v: `make tools` installs it", err)
		} else if err != nil {
			t.Skip(err)
		}
	}
	name := fmt.Sprintf("td%d-%d", os.Getpid(), time.Now().UnixNano()%100000)
	n := &Network{Inside: name + "i", Outside: name + "o"}
	for _, ns := range []string{n.Inside, n.Outside} {
		sh(t, "ip netns add "+ns)
		t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
	}
	sh(t, fmt.Sprintf(`
ip -n %[1]s link add eth0 type veth peer name eth0 netns %[2]s
ip -n %[1]s address add %[3]s/24 dev eth0
ip -n %[2]s address add %[4]s/24 dev eth0
for ns in %[1]s %[2]s; do ip -n $ns link set lo up; ip -n $ns link set eth0 up; done
ip -n %[1]s route add default via %[4]s`, n.Inside, n.Outside, insideAddress, OutsideAddress))
	n.nameWorld(t)
	return n
}

func sh(t testing.TB, script string) {
	t.Helper()
	if out, err := exec.Command("sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
}

// nameWorld gives programs inside a hosts file: ip netns exec puts what is in
// this folder over /etc.
func (n *Network) nameWorld(t testing.TB) {
	t.Helper()
	etc := filepath.Join("/etc/netns", n.Inside)
	if err := os.MkdirAll(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.RemoveAll(etc)
		os.Remove("/etc/netns") // if it is nobody else's
	})
	hosts := "127.0.0.1 localhost\n" + OutsideAddress + " " + World + "\n"
	if err := os.WriteFile(filepath.Join(etc, "hosts"), []byte(hosts), 0o644); err != nil {
		t.Fatal(err)
	}
}

// Exec is how a program is run inside.
func (n *Network) Exec(argv ...string) []string {
	return append([]string{"ip", "netns", "exec", n.Inside}, argv...)
}

// Apply runs a script of `capture --print-rules` inside; verb is its argument.
func (n *Network) Apply(t testing.TB, script, verb string) {
	t.Helper()
	argv := n.Exec("sh", "-s", verb)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("rules %s: %v: %s", verb, err, out)
	}
}

// Listen listens in a namespace: a socket stays in the one it was made in.
func Listen(t testing.TB, ns string) *net.TCPListener {
	t.Helper()
	type made struct {
		l   net.Listener
		err error
	}
	done := make(chan made)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		err := enter(ns)
		if err != nil {
			done <- made{nil, err}
			return
		}
		l, err := net.Listen("tcp4", ":0")
		done <- made{l, err}
	}()
	m := <-done
	if m.err != nil {
		t.Fatal(m.err)
	}
	t.Cleanup(func() { m.l.Close() })
	return m.l.(*net.TCPListener)
}

// enter puts this thread into a namespace.
func enter(ns string) error {
	f, err := os.Open(filepath.Join("/run/netns", ns))
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
}
