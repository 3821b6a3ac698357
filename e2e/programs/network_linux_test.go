package programs

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

// network is a machine (inside) and the rest of the world (outside), each a
// network namespace, joined by a cable. Servers of the test listen outside;
// programs are run inside, where world is the name of outside.
type network struct{ inside, outside string }

const (
	world       = "world.example"
	insideAddr  = "10.81.0.1"
	outsideAddr = "10.81.0.2"
)

func newNetwork(t *testing.T) *network {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	require(t, "ip")
	require(t, "nft")
	name := fmt.Sprintf("tdp%d-%d", os.Getpid(), time.Now().UnixNano()%100000)
	n := &network{inside: name + "i", outside: name + "o"}
	for _, ns := range []string{n.inside, n.outside} {
		run(t, nil, "ip", "netns", "add", ns)
		t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
	}
	run(t, nil, "sh", "-ec", fmt.Sprintf(`
ip -n %[1]s link add eth0 type veth peer name eth0 netns %[2]s
ip -n %[1]s address add %[3]s/24 dev eth0
ip -n %[2]s address add %[4]s/24 dev eth0
for ns in %[1]s %[2]s; do ip -n $ns link set lo up; ip -n $ns link set eth0 up; done
ip -n %[1]s route add default via %[4]s`, n.inside, n.outside, insideAddr, outsideAddr))
	n.nameWorld(t)
	return n
}

// nameWorld gives programs inside a hosts file: ip netns exec puts what is in
// this folder over /etc.
func (n *network) nameWorld(t *testing.T) {
	t.Helper()
	etc := filepath.Join("/etc/netns", n.inside)
	if err := os.MkdirAll(etc, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.RemoveAll(etc)
		os.Remove("/etc/netns") // if it is nobody else's
	})
	hosts := "127.0.0.1 localhost\n" + outsideAddr + " " + world + "\n"
	if err := os.WriteFile(filepath.Join(etc, "hosts"), []byte(hosts), 0o644); err != nil {
		t.Fatal(err)
	}
}

// exec is how a program is run inside.
func (n *network) exec(argv ...string) []string {
	return append([]string{"ip", "netns", "exec", n.inside}, argv...)
}

// listen listens outside. A socket stays in the namespace that it was made in.
func (n *network) listen(t *testing.T) net.Listener {
	t.Helper()
	type made struct {
		net.Listener
		error
	}
	done := make(chan made)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with the goroutine
		l, err := net.Listener(nil), enter(n.outside)
		if err == nil {
			l, err = net.Listen("tcp4", ":0")
		}
		done <- made{l, err}
	}()
	m := <-done
	if m.error != nil {
		t.Fatal(m.error)
	}
	t.Cleanup(func() { m.Close() })
	return m.Listener
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

// rules applies what capture prints to the inside.
func (n *network) rules(t *testing.T, verb string, flags ...string) {
	t.Helper()
	script := run(t, nil, append([]string{built(t), "capture", "--transparent", "15001", "--print-rules"}, flags...)...)
	argv := n.exec("sh", "-s", verb)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("rules %s: %v: %s", verb, err, out)
	}
}
