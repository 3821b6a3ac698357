package programs

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"tapedeck/capture/ca"
	"tapedeck/internal/nettest"
	"tapedeck/internal/pgtest"
	"tapedeck/internal/tool"
)

// callsInside is what programs do that know nothing of a proxy: beside calls,
// server-sent events, a WebSocket, Python and Node by TLS, and two protocols
// that we do not know: PostgreSQL's, and SMTP, whose server speaks first.
const callsInside = calls + `
curl -sSN $CURL $HTTPS/events
/usr/bin/python3 testdata/talk.py ws${HTTP#http}/socket
/usr/bin/python3 testdata/talk.py ws${HTTPS#http}/socket-tls
/usr/bin/python3 testdata/call.py $HTTPS/python
node testdata/call.mjs $HTTPS/node
psql -X -At "$DSN" -c 'select 6*7' -c 'select repeat('"'x'"', 100000)' | md5sum
printf 'Subject: hello\r\n\r\nbody\r\n' | curl -sS $SMTP --mail-from a@world.example --mail-rcpt b@world.example -T -
`

// TestProgramsBehindTransparentMode: programs whose connections the kernel
// redirects to us, in both ways, with TLS opened.
func TestProgramsBehindTransparentMode(t *testing.T) {
	n := nettest.New(t)
	for _, program := range []string{"curl", "node", "npm", "psql", "/usr/bin/python3"} {
		require(t, program)
	}
	files := http.NewServeMux()
	files.HandleFunc("/", echo)
	files.HandleFunc("/events", threeEvents)
	files.HandleFunc("/socket", echoSocket)
	files.HandleFunc("/socket-tls", echoSocket)
	o := newOriginAt(t, nettest.World, files, func() net.Listener { return nettest.Listen(t, n.Outside) })
	registry := "https://" + nettest.World + ":" + o.tls
	publish(t, "npm", files, registry)
	mail := &mailServer{}
	variables := []string{
		"GRPCURL=" + tool.GRPCurl.Require(t), "HTTP=http://" + nettest.World + ":" + o.plain, "HTTPS=" + registry,
		"GRPC=" + nettest.World + ":" + healthServer(t, nettest.Listen(t, n.Outside)), "DSN=" + postgres(t, n), "SMTP=smtp://" + nettest.World + ":" + mail.serve(t, nettest.Listen(t, n.Outside)),
	}
	trusting := slices.Concat(variables, ca.Variables(o.roots))
	want := run(t, trusting, n.Exec("sh", "-ec", callsInside)...)
	install(t, "npm", registry, ca.Variables(o.roots), n.Exec())
	for i, mode := range []string{"redirect", "tproxy"} {
		t.Run(mode, func(t *testing.T) {
			// Not by its user: CMD has the same. Its connections have a mark.
			flags := []string{"--transparent-mode", mode, "--fwmark", "0x99"}
			rules := run(t, nil, append([]string{built(t), "capture", "--transparent", "15001", "--print-rules", "--rules-uid", "4242"}, flags...)...)
			n.Apply(t, rules, "add")
			defer n.Apply(t, rules, "remove")
			data := t.TempDir()
			record := n.Exec(slices.Concat([]string{built(t), "record", "--data", data, "--service", "caller", "--transparent", "15001", "--outbound-tls", "open", "--upstream-ca", o.roots}, flags, []string{"--"})...)
			got, _, _ := strings.Cut(run(t, variables, append(record, "sh", "-ec", callsInside)...), "\nrecorded ")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the programs see something else (-direct +recorded):\n%s", diff)
			}
			if got := mail.received(); len(got) != i+2 || got[i+1] != got[0] {
				t.Errorf("mail arrives as %q", got)
			}
			isOnTape(t, onTape(t, data), 2, "/h1", "/h2c", "/upgrade", "/h2", "/h1s", "/grpc.health.v1.Health/Check", "/events", "/socket", "/socket-tls", "/python", "/node")
			install(t, "npm", registry, nil, record)
			isOnTape(t, onTape(t, data), 0, "/tiny", "/tiny/-/tiny-1.0.0.tgz")
		})
	}
}

// isOnTape wants each path once, and so many connections of unknown protocols.
func isOnTape(t *testing.T, list string, unknown int, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if strings.Count(list, `"path":"`+path+`"`) != 1 {
			t.Errorf("%s is not on tape once:\n%s", path, list)
		}
	}
	if got := strings.Count(list, `"protocol":"tcp"`); got != unknown {
		t.Errorf("%d connections of unknown protocols, want %d:\n%s", got, unknown, list)
	}
}

func threeEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i := range 3 {
		fmt.Fprintf(w, "id: %d\ndata: event %d\n\n", i, i)
		http.NewResponseController(w).Flush()
	}
}

func echoSocket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		return // the client says so
	}
	defer c.CloseNow()
	for {
		kind, b, err := c.Read(r.Context())
		if err != nil {
			return
		}
		if err := c.Write(r.Context(), kind, b); err != nil {
			return
		}
	}
}

// postgres is the address at which a real PostgreSQL is reached from inside.
func postgres(t *testing.T, n *nettest.Network) (dsn string) {
	t.Helper()
	u, err := url.Parse(pgtest.New(t))
	if err != nil {
		t.Fatal(err)
	}
	l, server := nettest.Listen(t, n.Outside), u.Host
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go join(c, server)
		}
	}()
	u.Host = nettest.World + ":" + portOf(l)
	return u.String()
}

// join relays c to a server of this machine.
func join(c net.Conn, server string) {
	defer c.Close()
	s, err := net.Dial("tcp", server)
	if err != nil {
		return // the client says so
	}
	defer s.Close()
	go func() {
		io.Copy(s, c)
		s.(*net.TCPConn).CloseWrite()
	}()
	io.Copy(c, s)
}

// mailServer takes mail (RFC 5321), and keeps it.
type mailServer struct {
	mu   sync.Mutex
	mail []string
}

func (m *mailServer) received() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.mail)
}

func (m *mailServer) serve(t *testing.T, l net.Listener) (port string) {
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go m.take(textproto.NewConn(c))
		}
	}()
	return portOf(l)
}

func (m *mailServer) take(c *textproto.Conn) {
	defer c.Close()
	c.PrintfLine("220 world.example")
	for {
		line, err := c.ReadLine()
		if err != nil {
			return
		}
		switch verb, _, _ := strings.Cut(line, " "); verb {
		case "DATA":
			c.PrintfLine("354 go on")
			text, _ := c.ReadDotBytes()
			m.mu.Lock()
			m.mail = append(m.mail, string(text))
			m.mu.Unlock()
			c.PrintfLine("250 taken")
		case "QUIT":
			c.PrintfLine("221 bye")
			return
		default:
			c.PrintfLine("250 ok")
		}
	}
}
