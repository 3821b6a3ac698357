package programs

import (
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"

	"tapedeck/capture/ca"
	"tapedeck/internal/tool"
)

// calls is a script of all that curl and grpcurl speak, to $HTTP, $HTTPS and
// $GRPC, each where it is set; $TUNNEL is how curl speaks h2c through a proxy.
const calls = `
if [ "$HTTP" ]; then
  curl -sS $CURL $HTTP/h1 -d one
  curl -sS $CURL $TUNNEL --http2-prior-knowledge $HTTP/h2c -d two -w '%{http_version}\n'
  curl -sS $CURL $TUNNEL --http2 $HTTP/upgrade -w '%{http_version}\n'
fi
if [ "$HTTPS" ]; then
  curl -sS $CURL $HTTPS/h2 -d three -w '%{http_version}\n'
  curl -sS $CURL --http1.1 $HTTPS/h1s -w '%{http_version}\n'
fi
if [ "$GRPC" ]; then "$GRPCURL" -plaintext $GRPC grpc.health.v1.Health/Check; fi
`

// mode is a way through us: flags of record, and what to call then.
type mode struct {
	name      string
	flags     []string
	variables []string
}

func modes(t *testing.T, o *origin, rpc string) []mode {
	var p [8]string
	for i := range p {
		p[i] = freePort(t)
	}
	named := []string{"HTTP=http://" + o.name + ":" + o.plain, "HTTPS=https://" + o.name + ":" + o.tls}
	return []mode{
		{"inbound", []string{"--inbound", p[0] + "=localhost:" + o.plain, "--inbound", p[1] + "=localhost:" + rpc},
			[]string{"HTTP=http://127.0.0.1:" + p[0], "GRPC=127.0.0.1:" + p[1]}},
		{"inbound TLS", []string{"--inbound", p[2] + "=https://localhost:" + o.tls, "--inbound-cert", o.cert, "--inbound-key", o.key},
			[]string{"HTTPS=https://127.0.0.1:" + p[2]}},
		{"dependencies", []string{"--outbound-tls", "open", "--outbound", p[3] + "=localhost:" + o.plain, "--outbound", p[4] + "=localhost:" + o.tls, "--outbound", p[5] + "=localhost:" + rpc},
			[]string{"HTTP=http://localhost:" + p[3], "HTTPS=https://localhost:" + p[4], "GRPC=localhost:" + p[5]}},
		{"HTTP proxy", []string{"--outbound", p[6]}, append(named, "TUNNEL=--proxytunnel", "GRPC="+o.name+":"+rpc)},
		{"SOCKS5", []string{"--outbound", p[7]}, append(named, "CURL=--noproxy , --proxy socks5h://127.0.0.1:"+p[7])},
	}
}

// TestEveryProtocolThroughEveryMode: curl (HTTP/1.1, HTTP/2 by TLS, h2c known
// before and by upgrade) and grpcurl.
func TestEveryProtocolThroughEveryMode(t *testing.T) {
	require(t, "curl")
	grpcurl := "GRPCURL=" + tool.GRPCurl.Require(t)
	o, rpc := newOrigin(t, http.HandlerFunc(echo)), healthServer(t, listen(t))
	for _, m := range modes(t, o, rpc) {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			direct := []string{grpcurl}
			for _, v := range m.variables {
				name, _, _ := strings.Cut(v, "=")
				switch name {
				case "HTTP":
					v = "HTTP=http://" + o.name + ":" + o.plain
				case "HTTPS":
					v = "HTTPS=https://" + o.name + ":" + o.tls
				case "GRPC":
					v = "GRPC=" + o.name + ":" + rpc
				default:
					continue
				}
				direct = append(direct, v)
			}
			want := run(t, append(direct, ca.Variables(o.roots)...), "sh", "-ec", calls)
			data := t.TempDir()
			record := append([]string{built(t), "record", "--data", data, "--service", "caller", "--upstream-ca", o.roots}, m.flags...)
			variables := append(slices.Clone(m.variables), grpcurl, "CURL_CA_BUNDLE="+o.roots)
			got, report, _ := strings.Cut(run(t, variables, append(record, "--", "sh", "-ec", calls)...), "\nrecorded ")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the programs see something else (-direct +recorded):\n%s", diff)
			}
			list := onTape(t, data)
			for _, path := range m.paths() {
				if strings.Count(list, `"path":"`+path+`"`) != 1 {
					t.Errorf("%s is not on tape once:\n%s\n%s", path, report, list)
				}
			}
		})
	}
}

// paths are those of calls with the variables of a mode.
func (m *mode) paths() (all []string) {
	for _, v := range m.variables {
		name, _, _ := strings.Cut(v, "=")
		all = append(all, map[string][]string{
			"HTTP":  {"/h1", "/h2c", "/upgrade"},
			"HTTPS": {"/h2", "/h1s"},
			"GRPC":  {"/grpc.health.v1.Health/Check"},
		}[name]...)
	}
	return all
}

// healthServer is a gRPC server with reflection, for grpcurl.
func healthServer(t *testing.T, l net.Listener) (port string) {
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	reflection.Register(s)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return portOf(l)
}
