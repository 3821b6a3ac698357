package capture

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"tapedeck/events"
	"tapedeck/internal/service"
)

// Config is what capture can be told (kong).
type Config struct {
	Inbound  []string `name:"inbound" env:"TAPEDECK_INBOUND" sep:"," placeholder:"LISTEN=UPSTREAM" help:"Listen for callers of the service and relay to it, e.g. 8080=localhost:3000, or 8443=https://localhost:3443. Repeatable."`
	Outbound []string `name:"outbound" env:"TAPEDECK_OUTBOUND" sep:"," placeholder:"LISTEN[=HOST:PORT]" help:"Listen for calls the service makes: as an HTTP and SOCKS5 proxy, or for one fixed dependency, e.g. 8081=payments:80, or 8081=https://payments for one that speaks TLS. Repeatable."`

	Transparent          []string `name:"transparent" env:"TAPEDECK_TRANSPARENT" sep:"," placeholder:"LISTEN" help:"Listen for connections that the kernel brings here (nft or iptables; see --print-rules of capture) and relay each to where it was going. Linux. Repeatable."`
	TransparentMode      string   `name:"transparent-mode" env:"TAPEDECK_TRANSPARENT_MODE" default:"redirect" enum:"redirect,tproxy" help:"How the rules bring them: redirect (needs no rights) or tproxy (needs CAP_NET_ADMIN)."`
	TransparentDirection string   `name:"transparent-direction" env:"TAPEDECK_TRANSPARENT_DIRECTION" default:"auto" enum:"auto,inbound,outbound" help:"Direction of such connections: auto is inbound to an address of this machine, outbound to any other."`
	ProxyUser            string   `name:"proxy-user" env:"TAPEDECK_PROXY_USER" placeholder:"USER:PASSWORD" help:"Ask clients of the HTTP and SOCKS5 proxy for this. Default: everybody may use it, with any credentials or none."`
	Fwmark               uint32   `name:"fwmark" env:"TAPEDECK_FWMARK" default:"0" placeholder:"MARK" help:"Mark our own upstream connections, so that rules can leave them alone; 0: no mark. Linux, needs CAP_NET_ADMIN."`

	InboundCert string   `name:"inbound-cert" env:"TAPEDECK_INBOUND_CERT" placeholder:"FILE" help:"The service's certificate chain, in PEM: callers speak TLS with it. Read again when it changes."`
	InboundKey  string   `name:"inbound-key" env:"TAPEDECK_INBOUND_KEY" placeholder:"FILE" help:"Key of --inbound-cert."`
	OutboundTLS string   `name:"outbound-tls" env:"TAPEDECK_OUTBOUND_TLS" default:"" enum:",open,pass" placeholder:"open|pass" help:"Open the TLS of outbound connections with certificates of --ca, which the service must trust, or pass it on unseen. Default: open in record -- CMD, pass elsewhere."`
	CA          string   `name:"ca" env:"TAPEDECK_CA" placeholder:"FILE" help:"Certificate authority for --outbound-tls open, made at first use. Default: ca.pem in --data."`
	UpstreamCA  string   `name:"upstream-ca" env:"TAPEDECK_UPSTREAM_CA" placeholder:"FILE" help:"Root certificates in PEM to verify upstreams with, beside the system's."`
	Passthrough []string `name:"passthrough" env:"TAPEDECK_PASSTHROUGH" sep:"," placeholder:"HOST" help:"Host whose TLS is never opened: HOST, *.DOMAIN, either with :PORT. Repeatable."`

	Cluster   string `name:"cluster" env:"TAPEDECK_CLUSTER" default:"local" help:"Cluster of the workload."`
	Namespace string `name:"namespace" env:"TAPEDECK_NAMESPACE" default:"default" help:"Namespace of the workload."`
	Service   string `name:"service" env:"TAPEDECK_SERVICE" placeholder:"NAME" help:"Service that is recorded. Default: the current folder's name."`
	Version   string `name:"version" env:"TAPEDECK_VERSION" placeholder:"VERSION" help:"Version of the service."`
	Instance  string `name:"instance" env:"TAPEDECK_INSTANCE" placeholder:"NAME" help:"Instance of the service. Default: the host's name."`

	OpenAPI      []string `name:"openapi" env:"TAPEDECK_OPENAPI" sep:"," placeholder:"[HOST=]FILE" help:"OpenAPI document (3.x or Swagger 2, YAML or JSON): its paths are the endpoints of the service, or with HOST= those of the dependency it calls by that name. Repeatable."`
	MaxEndpoints uint     `name:"max-endpoints" env:"TAPEDECK_MAX_ENDPOINTS" default:"5000" help:"Endpoints of the service at most; what is new beyond that is recorded as endpoint {overflow}. 0: no bound. Default: ${default}."`

	GRPCDescriptors []string `name:"grpc-descriptors" env:"TAPEDECK_GRPC_DESCRIPTORS" sep:"," placeholder:"FILE" help:"FileDescriptorSet of gRPC services, kept in --data: redaction and traffic show go by the names of fields in it. Repeatable."`
	GRPCReflection  []string `name:"grpc-reflection" env:"TAPEDECK_GRPC_REFLECTION" sep:"," placeholder:"HOST:PORT" help:"Ask the reflection service of this server for them, once. Nothing else makes capture send requests of its own. Repeatable."`

	MaxBody      Bytes         `name:"max-body" env:"TAPEDECK_MAX_BODY" default:"1MiB" placeholder:"SIZE" help:"Keep at most this of each body, and of each message of a stream (512KiB there at most); 0 keeps all. Default: ${default}."`
	TapeAge      time.Duration `name:"tape-age" env:"TAPEDECK_TAPE_AGE" default:"1s" help:"Close a tape after this time; up to five times later for a quiet service."`
	OnPressure   string        `name:"on-pressure" env:"TAPEDECK_ON_PRESSURE" default:"drop" enum:"drop,block" help:"When recording can't keep up: drop (and count) exchanges, or block the traffic."`
	Buffer       Bytes         `name:"buffer" env:"TAPEDECK_BUFFER" default:"64MiB" placeholder:"SIZE" help:"Memory for relayed bytes that are not recorded yet, in all. Default: ${default}."`
	Redact       string        `name:"redact" env:"TAPEDECK_REDACT" default:"on" enum:"on,headers,off" help:"Replace what is sensitive by tokens before anything is written: on, headers (credentials in headers, cookies, URLs and under token-like JSON keys only), or off. Default: ${default}."`
	RedactRules  string        `name:"redact-rules" env:"TAPEDECK_REDACT_RULES" placeholder:"FILE" help:"Rules for --redact on, in YAML, beside those built in (docs/redaction.md). Read again when the file changes."`
	RedactionKey string        `name:"redaction-key" placeholder:"FILE" help:"File of the redaction keys, made at first use and read again when it changes. Default: redaction.key in --data. The variable TAPEDECK_REDACTION_KEY wins."`
	Spool        string        `name:"spool" env:"TAPEDECK_SPOOL" placeholder:"DIR" help:"Folder for tapes that can't be published. Default: spool in --data."`
	SpoolSize    Bytes         `name:"spool-size" env:"TAPEDECK_SPOOL_SIZE" default:"1GiB" placeholder:"SIZE" help:"Bound of the spool; beyond it tapes are dropped and counted. Default: ${default}."`
	SpoolDrop    string        `name:"spool-drop" env:"TAPEDECK_SPOOL_DROP" default:"newest" enum:"newest,oldest" help:"At the bound of the spool, drop the newest or the oldest tapes."`
	Tag          []string      `name:"tag" env:"TAPEDECK_TAG" sep:"," placeholder:"HEADER" help:"Request header that becomes a tag. Repeatable."`
	DrainTimeout time.Duration `name:"drain-timeout" env:"TAPEDECK_DRAIN_TIMEOUT" default:"5s" help:"At the end, how long connections with a request under way may go on."`

	// Host is where a bare port listens: "127.0.0.1" in record, "" (all
	// addresses) in capture.
	Host string `kong:"-"`
	// RulesOrNothing refuses rules that can't be read: a person waits for the
	// answer. A service relays on, and records metadata.
	RulesOrNothing bool `kong:"-"`
	// IgnoreTraces hides trace headers from the search for causes: benchmarks
	// compare what it finds with what they say.
	IgnoreTraces bool `kong:"-"`
}

// Bytes is a size that is written with a unit: 512KiB, 1MiB, 1MB, 4096.
type Bytes int64

var units = []struct {
	suffix string
	factor int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"kB", 1e3}, {"B", 1}, {"", 1}}

// UnmarshalText reads a size.
func (b *Bytes) UnmarshalText(text []byte) error {
	for _, u := range units {
		digits, ok := strings.CutSuffix(string(text), u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n < 0 || n > (1<<62)/u.factor {
			return fmt.Errorf("size %q is not like 512KiB or 1MiB", text)
		}
		*b = Bytes(n * u.factor)
		return nil
	}
	return nil // the empty suffix fits everything
}

// withDefaults fills what kong would, for callers that build a Config.
func (c Config) withDefaults() Config {
	setDefault(&c.Cluster, "local")
	setDefault(&c.Namespace, "default")
	setDefault(&c.Service, defaultService())
	setDefault(&c.Instance, hostname())
	setDefault(&c.TapeAge, time.Second)
	setDefault(&c.OnPressure, "drop")
	setDefault(&c.Buffer, 64<<20)
	setDefault(&c.Redact, "on")
	setDefault(&c.OutboundTLS, "pass")
	setDefault(&c.SpoolSize, 1<<30)
	setDefault(&c.SpoolDrop, "newest")
	setDefault(&c.TransparentMode, "redirect")
	setDefault(&c.TransparentDirection, "auto")
	setDefault(&c.DrainTimeout, 5*time.Second)
	return c
}

func setDefault[T comparable](to *T, value T) {
	var zero T
	if *to == zero {
		*to = value
	}
}

func defaultService() string {
	if dir, err := os.Getwd(); err == nil && filepath.Base(dir) != string(filepath.Separator) {
		return filepath.Base(dir)
	}
	return "app"
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}

func (c *Config) workload() *events.Workload {
	return &events.Workload{Cluster: c.Cluster, Namespace: c.Namespace, Service: c.Service, Version: c.Version, Instance: c.Instance}
}

// route is one --inbound, --outbound or --transparent.
type route struct {
	direction   events.Direction // of a transparent one: unspecified until a connection tells
	listen      string           // host:port
	upstream    string           // host:port; "" for the proxy, and until a connection tells
	transparent bool
	secure      bool // the upstream speaks TLS
}

// flag is what the route was asked for with.
func (r *route) flag() string {
	if r.transparent {
		return "--transparent"
	}
	return "--" + r.direction.Name()
}

func (c *Config) routes() ([]route, error) {
	var routes []route
	for _, s := range c.Inbound {
		listen, upstream, ok := strings.Cut(s, "=")
		if !ok {
			return nil, service.Hint(fmt.Errorf("--inbound %s: no upstream", s), "write LISTEN=UPSTREAM, e.g. --inbound 8080=localhost:3000")
		}
		r, err := c.route("--inbound "+s, events.Direction_INBOUND, listen, upstream)
		if err != nil {
			return nil, err
		}
		routes = append(routes, r)
	}
	for _, s := range c.Outbound {
		listen, upstream, _ := strings.Cut(s, "=")
		r, err := c.route("--outbound "+s, events.Direction_OUTBOUND, listen, upstream)
		if err != nil {
			return nil, err
		}
		routes = append(routes, r)
	}
	for _, s := range c.Transparent {
		r, err := c.transparentRoute(s)
		if err != nil {
			return nil, err
		}
		routes = append(routes, r)
	}
	return routes, nil
}

// Ports are those that capture will listen on: inbound, outbound, transparent.
func (c *Config) Ports() ([]uint16, error) {
	routes, err := c.routes()
	if err != nil {
		return nil, err
	}
	var ports []uint16
	for _, r := range routes {
		_, port, err := net.SplitHostPort(r.listen)
		if err != nil {
			return nil, err
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return nil, err
		}
		ports = append(ports, uint16(n))
	}
	return ports, nil
}

func (c *Config) route(flag string, d events.Direction, listen, upstream string) (route, error) {
	const hint = "an address is PORT, :PORT or HOST:PORT"
	address, err := listenAddress(listen, c.Host)
	if err != nil {
		return route{}, service.Hint(fmt.Errorf("%s: listen address %q: %w", flag, listen, err), hint)
	}
	upstream, secure := cutScheme(upstream)
	if upstream != "" || d == events.Direction_INBOUND {
		if upstream, err = upstreamAddress(upstream); err != nil {
			return route{}, service.Hint(fmt.Errorf("%s: upstream: %w", flag, err), hint)
		}
	}
	return route{direction: d, listen: address, upstream: upstream, secure: secure}, nil
}

// cutScheme reads https://HOST[:PORT], an upstream that speaks TLS.
func cutScheme(s string) (address string, secure bool) {
	address, secure = strings.CutPrefix(s, "https://")
	if !secure {
		return s, false
	}
	address = strings.TrimSuffix(address, "/")
	if _, _, err := net.SplitHostPort(address); err != nil && !isPort(address) {
		address = net.JoinHostPort(strings.Trim(address, "[]"), "443")
	}
	return address, true
}

// listenAddress reads PORT, :PORT and HOST:PORT; a bare port is one of host.
func listenAddress(s, host string) (string, error) {
	if isPort(s) {
		return net.JoinHostPort(host, s), nil
	}
	given, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", err
	}
	if !isPort(port) {
		return "", fmt.Errorf("port %q is not a number up to 65535", port)
	}
	return net.JoinHostPort(given, port), nil
}

// upstreamAddress reads PORT, :PORT and HOST:PORT; without a host it is this one.
func upstreamAddress(s string) (string, error) {
	if isPort(s) {
		return net.JoinHostPort("localhost", s), nil
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return "", err
	}
	if !isPort(port) || port == "0" {
		return "", fmt.Errorf("port %q of %q is not a number from 1 to 65535", port, s)
	}
	if host == "" {
		host = "localhost"
	}
	return net.JoinHostPort(host, port), nil
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil
}
