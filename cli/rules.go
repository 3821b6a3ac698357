package cli

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"

	"github.com/alecthomas/kong"

	"tapedeck/capture"
	"tapedeck/capture/rules"
	"tapedeck/internal/service"
)

// rulesFlags say what --print-rules prints.
type rulesFlags struct {
	Print     rulesKind      `name:"print-rules" placeholder:"nft|iptables" help:"Print the rules for --transparent as a shell script that adds and removes them, and end: nft (the default) or iptables."`
	Ports     []uint16       `name:"rules-ports" sep:"," placeholder:"PORT" help:"Rules: ports of the service whose callers are recorded. Repeatable."`
	Outbound  bool           `name:"rules-outbound" default:"true" negatable:"" help:"Rules: redirect what leaves. Default: yes."`
	Exclude   []netip.Prefix `name:"rules-exclude" sep:"," placeholder:"CIDR" help:"Rules: leave calls to this network alone. Repeatable."`
	UID       int            `name:"rules-uid" default:"-1" placeholder:"UID" help:"Rules: the user that capture runs as, whose connections are left alone. Default: the one of this process."`
	BlockQUIC bool           `name:"block-quic" help:"Rules: refuse UDP to port 443 (HTTP/3), so that clients fall back to TCP. Default: count it only."`
}

// rulesKind is a flag whose value may be left out.
type rulesKind string

// IsBool lets the flag stand alone.
func (rulesKind) IsBool() bool { return true }

// Decode takes =KIND, or KIND as the next argument.
func (k *rulesKind) Decode(ctx *kong.DecodeContext) error {
	*k = "nft"
	next := ctx.Scan.Peek()
	value, _ := next.Value.(string)
	separate := value == "nft" || value == "iptables"
	if next.Type != kong.FlagValueToken && !separate {
		return nil
	}
	ctx.Scan.Pop()
	if !separate {
		return fmt.Errorf("%q is neither nft nor iptables", value)
	}
	*k = rulesKind(value)
	return nil
}

// print writes the rules of a capture to standard output.
func (f *rulesFlags) print(env *Env, c *capture.Config, http string) error {
	script, err := f.script(c, http)
	if err != nil {
		return exit(2, service.Hint(fmt.Errorf("capture: print rules: %w", err),
			"e.g. tapedeck capture --transparent 15001 --rules-ports 8080 --rules-uid 1337 --print-rules nft"))
	}
	fmt.Fprint(env.Stdout, script)
	return nil
}

func (f *rulesFlags) script(c *capture.Config, http string) (string, error) {
	if len(c.Transparent) != 1 {
		return "", errors.New("the rules bring connections to one listener: give --transparent LISTEN once")
	}
	listening, err := c.Ports()
	if err != nil {
		return "", err
	}
	if _, port, err := net.SplitHostPort(http); err == nil {
		if n, err := strconv.ParseUint(port, 10, 16); err == nil {
			listening = append(listening, uint16(n))
		}
	}
	last := len(c.Inbound) + len(c.Outbound) // the transparent one
	r := &rules.Rules{
		Listen: listening[last], TProxy: c.TransparentMode == "tproxy", UID: f.UID, Fwmark: c.Fwmark,
		Ports: f.Ports, Outbound: f.Outbound, Exclude: f.Exclude, Own: append(listening[:last:last], listening[last+1:]...), BlockQUIC: f.BlockQUIC,
	}
	if r.UID < 0 {
		r.UID = os.Getuid()
	}
	if f.Print == "iptables" {
		return r.IPTables()
	}
	return r.NFT()
}
