package rules

import (
	"fmt"
	"slices"
	"strings"
)

// IPTables is the script for iptables and ip6tables.
func (r *Rules) IPTables() (string, error) {
	if err := r.check(); err != nil {
		return "", err
	}
	kind, table := "iptables, redirect", "nat"
	if r.TProxy {
		kind, table = "iptables, tproxy", "mangle"
	}
	chains := r.chains(table)
	var add, remove, count strings.Builder
	add.WriteString("\tremove\n" + r.routes("add"))
	for _, program := range []string{"iptables", "ip6tables"} {
		call := program
		if program == "ip6tables" {
			call = "six " + program
		}
		line := func(b *strings.Builder, table, rest string) {
			fmt.Fprintf(b, "\t%s -w -t %s %s\n", call, table, rest)
		}
		for _, c := range chains {
			line(&add, c.table, "-N "+c.name)
			for _, rule := range c.rulesFor(program == "ip6tables") {
				line(&add, c.table, "-A "+c.name+" "+rule)
			}
			line(&add, c.table, "-A "+c.hook+" -j "+c.name)
		}
		for _, c := range slices.Backward(chains) {
			for _, rest := range []string{"-D " + c.hook + " -j " + c.name, "-F " + c.name, "-X " + c.name} {
				line(&remove, c.table, rest+" 2>/dev/null || true")
			}
			line(&count, c.table, "-L "+c.name+" -n -v -x")
		}
	}
	remove.WriteString(r.routes("remove"))
	return r.script(kind, add.String(), remove.String(), count.String()), nil
}

// chain is one of ours, with what hangs it into the kernel's.
type chain struct {
	table, name, hook string
	rules             []rule
}

// rule may be of one family only.
type rule struct {
	text  string
	only4 bool
	only6 bool
}

func all(format string, args ...any) rule { return rule{text: fmt.Sprintf(format, args...)} }

func (c *chain) rulesFor(v6 bool) []string {
	var out []string
	for _, r := range c.rules {
		if v6 && !r.only4 || !v6 && !r.only6 {
			out = append(out, r.text)
		}
	}
	return out
}

func (r *Rules) chains(table string) []chain {
	var out []chain
	if in := r.inbound(); len(in) > 0 {
		out = append(out, chain{table, "TAPEDECK_IN", "PREROUTING", in})
	}
	if r.Outbound {
		out = append(out, chain{table, "TAPEDECK_OUT", "OUTPUT", r.outbound()})
	}
	quic := []rule{all("-p udp --dport 443 -m conntrack --ctstate NEW -m comment --comment udp443")}
	if r.BlockQUIC {
		quic = append(quic, all("-p udp --dport 443 -j REJECT"))
	}
	return append(out,
		chain{"filter", "TAPEDECK_QUIC_OUT", "OUTPUT", append(r.alone(), quic...)},
		chain{"filter", "TAPEDECK_QUIC_IN", "INPUT", append([]rule{all("-i lo -j RETURN")}, quic...)})
}

// alone are the rules for what leaves and is left alone.
func (r *Rules) alone() []rule {
	out := []rule{all("-m owner --uid-owner %d -j RETURN", r.UID)}
	if r.Fwmark != 0 {
		out = append(out, all("-m mark --mark %#x -j RETURN", r.Fwmark))
	}
	out = append(out, all("-m addrtype --dst-type LOCAL -j RETURN"))
	for _, p := range r.Exclude {
		out = append(out, rule{text: "-d " + p.Masked().String() + " -j RETURN", only4: p.Addr().Is4(), only6: p.Addr().Is6()})
	}
	return out
}

func (r *Rules) inbound() []rule {
	var out []rule
	if r.TProxy {
		out = append(out, all("-i lo -p tcp -m mark --mark %#x -j TPROXY --on-port %d --tproxy-mark %#x", tproxyMark, r.Listen, tproxyMark), all("-i lo -j RETURN"))
	}
	if len(r.Ports) == 0 {
		return out
	}
	out = append(out, all("-m addrtype ! --dst-type LOCAL -j RETURN"))
	for _, p := range append([]uint16{r.Listen}, r.Own...) {
		out = append(out, all("-p tcp --dport %d -j RETURN", p))
	}
	for _, p := range r.Ports {
		if !r.TProxy {
			out = append(out, all("-p tcp --dport %d -j REDIRECT --to-ports %d", p, r.Listen))
			continue
		}
		// TPROXY drops what belongs to a connection from before the rules.
		out = append(out,
			all("-p tcp --dport %d -m conntrack --ctstate NEW -j CONNMARK --set-mark %#x", p, tproxyMark),
			all("-p tcp --dport %d -m connmark --mark %#x -j TPROXY --on-port %d --tproxy-mark %#x", p, tproxyMark, r.Listen, tproxyMark))
	}
	return out
}

func (r *Rules) outbound() []rule {
	if !r.TProxy {
		return append(r.alone(), all("-p tcp -j REDIRECT --to-ports %d", r.Listen))
	}
	out := append([]rule{all("-m conntrack --ctdir REPLY -j RETURN")}, r.alone()...)
	return append(out,
		all("-p tcp -m conntrack --ctstate NEW -j CONNMARK --set-mark %#x", tproxyMark),
		all("-p tcp -m connmark --mark %#x -j MARK --set-mark %#x", tproxyMark, tproxyMark))
}
