package capture

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tapedeck/events"
)

// TestTransparent sends calls in and out through redirected connections, of
// both kinds, brought by both kinds of rules, by both versions of IP.
func TestTransparent(t *testing.T) {
	for _, mode := range []string{"redirect", "tproxy"} {
		for _, kind := range []string{"nft", "iptables"} {
			t.Run(mode+"/"+kind, func(t *testing.T) { testTransparent(t, mode, kind) })
		}
	}
}

func testTransparent(t *testing.T, mode, kind string) {
	n := newNetwork(t, kind)
	c := n.capture("--transparent", "15001", "--transparent-mode", mode)
	flags := []string{"--print-rules", kind, "--transparent-mode", mode, "--rules-uid", captureUser, "--rules-ports", "8080", "--rules-exclude", "10.78.0.0/16,fd78::/16"}
	n.rules("add", flags...)
	n.rules("add", flags...) // once more changes nothing
	want := func(ns, url, answer string) {
		t.Helper()
		if got, err := n.curl(ns, url); err != nil || got != answer {
			t.Errorf("%s: got %q, %v, want %q", url, got, err, answer)
		}
	}
	for i, host := range []string{inside4, "[" + inside6 + "]"} {
		want(n.outside, fmt.Sprintf("http://%s:8080/in%d", host, i), fmt.Sprintf("GET /in%d", i))
	}
	for i, host := range []string{outside4, "[" + outside6 + "]"} {
		want(n.inside, fmt.Sprintf("http://%s:8080/out%d", host, i), fmt.Sprintf("GET /out%d", i))
		want(n.inside, fmt.Sprintf("telnet://%s:8081", host), banner)
	}
	want(n.inside, "http://"+excluded4+":8080/excluded", "GET /excluded")
	want(n.inside, "http://127.0.0.1:8080/loopback", "GET /loopback")
	want(n.outside, "telnet://"+inside4+":8081", banner) // a port of no rule
	if _, err := n.curl(n.outside, "http://"+inside4+":15001/"); err == nil {
		t.Error("a direct connection to the listener was answered")
	}
	if _, err := n.curl(n.inside, "http://"+outside4+":9/"); err == nil || !strings.Contains(err.Error(), "exit status") {
		t.Errorf("a refused port: %v", err)
	}
	var got []string
	for _, x := range play(t, c.tapes()).exchanges {
		line := fmt.Sprintf("%s %s %s %s", x.Direction.Name(), x.Protocol, x.Request.GetTarget(), x.Connection.Server)
		if x.Failure != "" {
			line += " " + x.Failure
		}
		got = append(got, strings.TrimSpace(line))
		if x.Connection.Listen != "" {
			t.Errorf("%s has the listener %q, which no mock can have", line, x.Connection.Listen)
		}
		if from := x.Connection.Client; x.Direction == events.Direction_INBOUND && !strings.Contains(from, outside4) && !strings.Contains(from, outside6) {
			t.Errorf("%s comes from %s, want the caller's address", line, from)
		}
	}
	slices.Sort(got)
	expected := []string{
		"inbound http /in0 10.77.0.1:8080", "inbound http /in1 [fd77::1]:8080",
		"outbound http /out0 10.77.0.2:8080", "outbound http /out1 [fd77::2]:8080",
		"outbound tcp  10.77.0.2:8081", "outbound tcp  [fd77::2]:8081",
		"outbound http / 10.77.0.2:9 no answer: refused",
	}
	slices.Sort(expected)
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("recorded (-want +got):\n%s", diff)
	}
	n.rules("remove", flags...)
	if left, err := n.in(n.inside, "nft", "list", "ruleset"); err == nil && strings.Contains(strings.ToLower(left), "tapedeck") {
		t.Errorf("left after removal:\n%s", left)
	}
	if left := n.sh("ip -n " + n.inside + " rule; ip -n " + n.inside + " -6 rule"); strings.Contains(left, "0x7d1") {
		t.Errorf("left after removal:\n%s", left)
	}
	want(n.inside, "http://"+outside4+":8080/after", "GET /after")
}

// TestQUIC: what can't be recorded is counted, and refused when asked.
func TestQUIC(t *testing.T) {
	n := newNetwork(t, "nft", "iptables")
	count := regexp.MustCompile(`(?s)counter udp443 \{\s+packets (\d+)|(\d+) +\d+ +(?:udp|17) [^\n]*udp443`)
	counted := func(out string) (sum string) {
		for _, m := range count.FindAllStringSubmatch(out, -1) {
			sum += m[1] + m[2] + " "
		}
		return sum
	}
	for _, kind := range []string{"nft", "iptables"} {
		for _, block := range []bool{false, true} {
			flags := []string{"--print-rules=" + kind, "--rules-uid", captureUser}
			if block {
				flags = append(flags, "--block-quic")
			}
			n.rules("add", flags...)
			for _, to := range []string{outside4, outside6} {
				for range 2 {
					_, err := n.in(n.inside, "bash", "-c", "echo hello > /dev/udp/"+to+"/443")
					if refused := err != nil; refused != block {
						t.Errorf("%s, block %v: UDP to %s: %v", kind, block, to, err)
					}
				}
			}
			// IPv4 and IPv6 have one counter in nft, and one a chain in iptables.
			want := map[string]string{"nft": "4 ", "iptables": "0 2 0 2 "}[kind]
			if got := counted(n.rules("count", flags...)); got != want {
				t.Errorf("%s, block %v: counted %q, want %q:\n%s", kind, block, got, want, n.rules("count", flags...))
			}
			n.rules("remove", flags...)
		}
	}
}

// TestLoopsEnd: rules that do not leave capture alone cost the connection,
// never the machine.
func TestLoopsEnd(t *testing.T) {
	n := newNetwork(t, "nft")
	c := n.capture("--transparent", "15001", "--inbound", "9000=127.0.0.1:8080")
	n.rules("add", "--print-rules", "--rules-uid", "4242")
	if out, err := n.curl(n.inside, "http://"+outside4+":8080/loop"); err == nil {
		t.Errorf("a loop answered %q", out)
	}
	metrics, err := n.curl(n.inside, "http://127.0.0.1:9090/metrics")
	rejected := regexp.MustCompile(`rejected_connections_total\{reason="loop"\} (\d+)`).FindStringSubmatch(metrics)
	if err != nil || rejected == nil || len(rejected[1]) > 2 {
		t.Errorf("rejected %v, %v, want a few loops", rejected, err)
	}
	n.rules("remove", "--print-rules")
	if got, err := n.curl(n.inside, "http://127.0.0.1:9000/still"); err != nil || got != "GET /still" {
		t.Errorf("afterwards: %q, %v", got, err)
	}
	c.tapes()
}

// TestMarkLeavesUsAlone: with a mark of our own capture may run as the
// service's user.
func TestMarkLeavesUsAlone(t *testing.T) {
	n := newNetwork(t, "nft")
	c := n.capture("--transparent", "15001", "--fwmark", "0x99")
	n.rules("add", "--print-rules", "--rules-uid", "4242", "--fwmark", "0x99")
	if got, err := n.curl(n.inside, "http://"+outside4+":8080/marked"); err != nil || got != "GET /marked" {
		t.Errorf("got %q, %v", got, err)
	}
	if x := play(t, c.tapes()).exchanges; len(x) != 1 {
		t.Errorf("recorded %d exchanges, want 1", len(x))
	}
}
