package rules

import (
	"fmt"
	"strings"
)

// NFT is the script for nftables. Its rules change in one transaction.
func (r *Rules) NFT() (string, error) {
	if err := r.check(); err != nil {
		return "", err
	}
	kind := "nft, redirect"
	chains := r.nftRedirect()
	if r.TProxy {
		kind, chains = "nft, tproxy", r.nftTProxy()
	}
	const table = "table inet tapedeck"
	add := r.routes("remove") + r.routes("add") + // no route twice
		"\tnft -f - <<'RULES'\n" + table + "\ndelete " + table + "\n" + table + " {\n" + r.nftSets() + chains + r.nftQUIC() + "}\nRULES\n"
	remove := "\tnft delete " + table + " 2>/dev/null || true\n" + r.routes("remove")
	count := "\tnft list counters " + table + "\n"
	return r.script(kind, add, remove, count), nil
}

func (r *Rules) nftSets() string {
	var b strings.Builder
	for _, name := range []string{"inbound", "outbound", "udp443"} {
		fmt.Fprintf(&b, "\tcounter %s { }\n", name)
	}
	v4, v6 := split(r.Exclude)
	for _, set := range []struct {
		name, kind string
		elements   []string
	}{{"exclude4", "ipv4_addr", v4}, {"exclude6", "ipv6_addr", v6}} {
		if len(set.elements) > 0 {
			fmt.Fprintf(&b, "\tset %s { type %s; flags interval; auto-merge; elements = { %s }; }\n", set.name, set.kind, strings.Join(set.elements, ", "))
		}
	}
	return b.String()
}

// nftAlone are the rules for what leaves and is left alone.
func (r *Rules) nftAlone() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\t\tmeta skuid %d return\n", r.UID)
	if r.Fwmark != 0 {
		fmt.Fprintf(&b, "\t\tmeta mark %#x return\n", r.Fwmark)
	}
	b.WriteString("\t\tfib daddr type local return\n")
	v4, v6 := split(r.Exclude)
	if len(v4) > 0 {
		b.WriteString("\t\tip daddr @exclude4 return\n")
	}
	if len(v6) > 0 {
		b.WriteString("\t\tip6 daddr @exclude6 return\n")
	}
	return b.String()
}

// nftOwn leaves connections to our listeners alone.
func (r *Rules) nftOwn() string {
	return fmt.Sprintf("\t\ttcp dport { %s } return\n", strings.Join(ports(append([]uint16{r.Listen}, r.Own...)), ", "))
}

func (r *Rules) nftRedirect() string {
	var b strings.Builder
	if len(r.Ports) > 0 {
		b.WriteString("\tchain inbound {\n\t\ttype nat hook prerouting priority dstnat; policy accept;\n\t\tfib daddr type != local return\n")
		b.WriteString(r.nftOwn())
		fmt.Fprintf(&b, "\t\ttcp dport { %s } counter name inbound redirect to :%d\n\t}\n", strings.Join(ports(r.Ports), ", "), r.Listen)
	}
	if r.Outbound {
		b.WriteString("\tchain outbound {\n\t\ttype nat hook output priority -100; policy accept;\n" + r.nftAlone())
		fmt.Fprintf(&b, "\t\tmeta l4proto tcp counter name outbound redirect to :%d\n\t}\n", r.Listen)
	}
	return b.String()
}

// nftTProxy marks new connections that leave, so that the policy route brings
// them back over lo, where prerouting hands them to the listener. Connections
// from before the rules, and answers to callers, are left as they are.
func (r *Rules) nftTProxy() string {
	var b strings.Builder
	b.WriteString("\tchain prerouting {\n\t\ttype filter hook prerouting priority mangle; policy accept;\n")
	fmt.Fprintf(&b, "\t\tiifname \"lo\" meta mark %#x meta l4proto tcp tproxy to :%d accept\n\t\tiifname \"lo\" return\n", tproxyMark, r.Listen)
	if len(r.Ports) > 0 {
		b.WriteString("\t\tfib daddr type != local return\n" + r.nftOwn())
		fmt.Fprintf(&b, "\t\ttcp dport { %s } ct state new counter name inbound\n", strings.Join(ports(r.Ports), ", "))
		fmt.Fprintf(&b, "\t\ttcp dport { %s } tproxy to :%d meta mark set %#x accept\n", strings.Join(ports(r.Ports), ", "), r.Listen, tproxyMark)
	}
	b.WriteString("\t}\n")
	if r.Outbound {
		b.WriteString("\tchain outbound {\n\t\ttype route hook output priority mangle; policy accept;\n\t\tct direction reply return\n" + r.nftAlone())
		fmt.Fprintf(&b, "\t\tmeta l4proto tcp ct state new counter name outbound ct mark set %#x\n", tproxyMark)
		fmt.Fprintf(&b, "\t\tmeta l4proto tcp ct mark %#x meta mark set %#x\n\t}\n", tproxyMark, tproxyMark)
	}
	return b.String()
}

// nftQUIC counts what goes by unseen, both ways.
func (r *Rules) nftQUIC() string {
	verdict := ""
	if r.BlockQUIC {
		verdict = " reject"
	}
	rule := "\t\tudp dport 443 ct state new counter name udp443" + verdict + "\n\t}\n"
	return "\tchain quic_out {\n\t\ttype filter hook output priority filter; policy accept;\n" + r.nftAlone() + rule +
		"\tchain quic_in {\n\t\ttype filter hook input priority filter; policy accept;\n\t\tiifname \"lo\" return\n" + rule
}
