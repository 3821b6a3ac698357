package rules

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"
)

func sample() *Rules {
	return &Rules{Listen: 15001, UID: 1337, Ports: []uint16{80, 8080}, Outbound: true, Own: []uint16{9000},
		Exclude: []netip.Prefix{netip.MustParsePrefix("10.1.2.3/8"), netip.MustParsePrefix("fd00::1/8")}}
}

func TestRulesRefuseNonsense(t *testing.T) {
	for name, change := range map[string]func(*Rules){
		"no port":          func(r *Rules) { r.Listen = 0 },
		"for nothing":      func(r *Rules) { r.Ports, r.Outbound = nil, false },
		"own port":         func(r *Rules) { r.Ports = []uint16{9000} },
		"the listener":     func(r *Rules) { r.Ports = []uint16{15001} },
		"mark of the rule": func(r *Rules) { r.Fwmark = tproxyMark },
	} {
		r := sample()
		change(r)
		if _, err := r.NFT(); err == nil {
			t.Errorf("%s: nft: no error", name)
		}
		if _, err := r.IPTables(); err == nil {
			t.Errorf("%s: iptables: no error", name)
		}
	}
}

// TestScripts looks for what each script must say, and that a shell can read
// it. What it does is tested in capture, in a network namespace.
func TestScripts(t *testing.T) {
	for _, test := range []struct {
		name      string
		change    func(*Rules)
		nft       []string
		iptables  []string
		neverNFT  string
		neverIPTs string
	}{
		{"redirect", func(*Rules) {},
			[]string{"meta skuid 1337 return", "elements = { 10.0.0.0/8 }", "elements = { fd00::/8 }", "tcp dport { 80, 8080 } counter name inbound redirect to :15001", "tcp dport { 15001, 9000 } return"},
			[]string{"--uid-owner 1337 -j RETURN", "\tiptables -w -t nat -A TAPEDECK_OUT -d 10.0.0.0/8 -j RETURN", "six ip6tables -w -t nat -A TAPEDECK_OUT -d fd00::/8 -j RETURN"}, "reject", "REJECT"},
		{"tproxy", func(r *Rules) { r.TProxy = true },
			[]string{"tproxy to :15001 accept", "ip -4 rule add fwmark 0x7d1", "six ip -6 rule del fwmark 0x7d1"}, []string{"-j TPROXY --on-port 15001", "--ctdir REPLY -j RETURN"}, "redirect to", "-j REDIRECT"},
		{"quic", func(r *Rules) { r.BlockQUIC = true }, []string{"counter name udp443 reject"}, []string{"-p udp --dport 443 -j REJECT"}, "tproxy to", "TPROXY"},
		{"inbound only", func(r *Rules) { r.Outbound = false }, []string{"counter name inbound"}, []string{"TAPEDECK_IN"}, "counter name outbound", "-N TAPEDECK_OUT"},
		{"mark", func(r *Rules) { r.Fwmark = 0x99 }, []string{"meta mark 0x99 return"}, []string{"--mark 0x99 -j RETURN"}, "tproxy to", "TPROXY"},
	} {
		r := sample()
		test.change(r)
		nft, err := r.NFT()
		if err != nil {
			t.Fatal(err)
		}
		iptables, err := r.IPTables()
		if err != nil {
			t.Fatal(err)
		}
		check(t, test.name+"/nft", nft, test.nft, test.neverNFT)
		check(t, test.name+"/iptables", iptables, test.iptables, test.neverIPTs)
	}
}

func check(t *testing.T, name, script string, want []string, never string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(script, w) {
			t.Errorf("%s has no %q:\n%s", name, w, script)
		}
	}
	if strings.Contains(script, never) {
		t.Errorf("%s has %q:\n%s", name, never, script)
	}
	cmd := exec.Command("sh", "-n")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", name, err, out)
	}
}
