package capture

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"tapedeck/events"
)

// captureUser is whom the rules leave alone.
const captureUser = "1337"

// network is a machine with a service behind capture (inside) and the rest of
// the world (outside), each a network namespace, joined by a cable.
type network struct {
	t               *testing.T
	inside, outside string
	data            string
}

const (
	inside4, inside6   = "10.77.0.1", "fd77::1"
	outside4, outside6 = "10.77.0.2", "fd77::2"
	excluded4          = "10.78.0.2" // outside as well
)

// newNetwork makes one that ends with the test.
func newNetwork(t *testing.T, tools ...string) *network {
	t.Helper()
	need(t, append(tools, "ip", "curl", "setpriv", "bash")...)
	name := fmt.Sprintf("td%d%d", os.Getpid(), time.Now().UnixNano()%100000)
	n := &network{t: t, inside: name + "i", outside: name + "o"}
	for _, ns := range []string{n.inside, n.outside} {
		n.sh("ip netns add " + ns)
		t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
		n.sh("ip -n " + ns + " link set lo up")
	}
	n.sh(fmt.Sprintf("ip -n %s link add eth0 type veth peer name eth0 netns %s", n.inside, n.outside))
	for _, end := range [][]string{{n.inside, inside4, inside6}, {n.outside, outside4, outside6}} {
		n.sh(fmt.Sprintf("ip -n %s address add %s/24 dev eth0", end[0], end[1]))
		n.sh(fmt.Sprintf("ip -n %s address add %s/64 dev eth0 nodad", end[0], end[2]))
		n.sh(fmt.Sprintf("ip -n %s link set eth0 up", end[0]))
	}
	n.sh(fmt.Sprintf("ip -n %s address add %s/32 dev eth0", n.outside, excluded4))
	n.sh(fmt.Sprintf("ip -n %s route add default via %s", n.inside, outside4))
	n.serve(n.inside)
	n.serve(n.outside)
	return n
}

// need skips without root or tools; where services are required, it fails
// when it is root.
func need(t *testing.T, tools ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for network namespaces")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			if os.Getenv("REQUIRE_SERVICES") == "1" {
				t.Fatalf("%v: deploy/local/tools.sh installs it", err)
			}
			t.Skip(err)
		}
	}
}

func (n *network) sh(line string) string {
	n.t.Helper()
	out, err := exec.Command("sh", "-ec", line).CombinedOutput()
	if err != nil {
		n.t.Fatalf("%s: %v: %s", line, err, out)
	}
	return string(out)
}

// in runs a command in a namespace and returns what it prints.
func (n *network) in(ns string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(n.t.Context(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", ns}, args...)...).CombinedOutput()
	return string(out), err
}

func (n *network) curl(ns, url string) (string, error) {
	return n.in(ns, "curl", "-sS", "-g", "--noproxy", "*", "--max-time", "10", url)
}

// background starts a command in a namespace until the test ends.
func (n *network) background(ns string, environ []string, out io.Writer, args ...string) *exec.Cmd {
	n.t.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", ns}, args...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), environ...), out, out
	if err := cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	})
	return cmd
}

func (n *network) serve(ns string) {
	self, err := os.Executable()
	if err != nil {
		n.t.Fatal(err)
	}
	var out output
	n.background(ns, []string{serveVariable + "=8080"}, &out, self)
	eventually(n.t, "server in "+ns, func() bool { return strings.Contains(out.String(), "ready") })
}

// tapedeck is a capture process inside, as its own user, without NATS: its
// tapes stay in the spool.
type tapedeck struct {
	*exec.Cmd
	n   *network
	out *output
}

func (n *network) capture(args ...string) *tapedeck {
	n.t.Helper()
	binary := build(n.t)
	dir, err := os.MkdirTemp("", "tapedeck-test-")
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o777); err != nil {
		n.t.Fatal(err)
	}
	n.data = filepath.Join(dir, "data")
	out := &output{}
	as := []string{"setpriv", "--reuid=" + captureUser, "--regid=" + captureUser, "--clear-groups", "--inh-caps=+net_admin", "--ambient-caps=+net_admin"}
	cmd := n.background(n.inside, nil, out, append(append(as, binary, "capture",
		"--nats", "nats://127.0.0.1:1", "--data", n.data, "--http", "127.0.0.1:9090", "--service", "shop", "--tape-age", "50ms"), args...)...)
	eventually(n.t, "capture listens", func() bool {
		_, err := n.curl(n.inside, "http://127.0.0.1:9090/readyz")
		return err == nil || strings.Contains(out.String(), "tapedeck: ")
	})
	n.t.Cleanup(func() {
		if n.t.Failed() {
			n.t.Log(out.String())
		}
	})
	return &tapedeck{cmd, n, out}
}

// tapes ends the process and returns what it recorded.
func (d *tapedeck) tapes() []*events.Tape {
	d.n.t.Helper()
	if err := d.Process.Signal(syscall.SIGTERM); err != nil {
		d.n.t.Fatal(err)
	}
	if err := d.Wait(); err != nil {
		d.n.t.Errorf("capture: %v: %s", err, d.out)
	}
	return spooledIn(d.n.t, filepath.Join(d.n.data, "spool"))
}

// rules prints the rules and applies them to the inside.
func (n *network) rules(verb string, args ...string) string {
	n.t.Helper()
	script, err := exec.Command(build(n.t), append([]string{"capture", "--transparent", "15001"}, args...)...).Output()
	if err != nil {
		n.t.Fatalf("print rules: %v", err)
	}
	cmd := exec.Command("ip", "netns", "exec", n.inside, "sh", "-s", verb)
	cmd.Stdin = bytes.NewReader(script)
	out, err := cmd.CombinedOutput()
	if err != nil {
		n.t.Fatalf("rules %s: %v: %s\n%s", verb, err, out, script)
	}
	return string(out)
}
