package capture

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"tapedeck/events"
	"tapedeck/internal/natstest"
)

func TestRecordsHTTP2(t *testing.T) {
	_, js := natstest.New(t)
	unencrypted := &http.Protocols{}
	unencrypted.SetUnencryptedHTTP2(true)
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	app.Config.Protocols = unencrypted
	app.Start()
	defer app.Close()
	c := start(t, Config{Inbound: []string{"0=" + address(app)}}, Deps{JS: js})
	client := &http.Client{Transport: &http.Transport{Protocols: unencrypted}}
	long := bytes.Repeat([]byte("0123456789abcdef"), 40_000)
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			body := fmt.Appendf(nil, "body %d", i)
			if i == 0 {
				body = long
			}
			request, _ := http.NewRequest("POST", fmt.Sprintf("%s/orders/%d", c.url(0), i), bytes.NewReader(body))
			request.Header.Set("Authorization", "Bearer secret-of-the-test")
			answer, err := client.Do(request)
			if err != nil {
				t.Error(err)
				return
			}
			got, err := io.ReadAll(answer.Body)
			answer.Body.Close()
			if !bytes.Equal(got, body) {
				t.Errorf("client sees %d bytes, %v, want %d", len(got), err, len(body))
			}
		})
	}
	all.Wait()
	client.CloseIdleConnections()
	c.stop()
	out := play(t, tapesOf(t, js))
	if len(out.rows) != 30 {
		t.Fatalf("recorded %d exchanges, want 30", len(out.rows))
	}
	for i, x := range out.exchanges {
		row := out.rows[i]
		if row.Protocol != "http" || row.Template != "/orders/{id}" || row.Status != "200" || x.Request.Version != "HTTP/2.0" || x.Failure != "" || row.Flags&uint32(events.Flag_TRUNCATED) != 0 {
			t.Errorf("row %+v, failure %q", row, x.Failure)
		}
		if !bytes.Equal(x.Request.Body.Data, x.Response.Body.Data) || len(x.Request.Body.Data) == 0 || strings.HasSuffix(x.Request.Target, "/0") && !bytes.Equal(x.Request.Body.Data, long) {
			t.Errorf("%s: bodies of %d and %d bytes", x.Request.Target, len(x.Request.Body.Data), len(x.Response.Body.Data))
		}
		if auth := events.HeaderValue(x.Request.Headers, "authorization"); !strings.HasPrefix(auth, "Bearer td1_") {
			t.Errorf("Authorization %q, want a token", auth)
		}
	}
}

// A gRPC server speaks before its client has.
func TestRecordsGRPC(t *testing.T) {
	_, js := natstest.New(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	defer func() { server.Stop(); <-served }()
	c := start(t, Config{Inbound: []string{"0=" + l.Addr().String()}}, Deps{JS: js})
	for i := range 10 {
		conn, err := grpc.NewClient("passthrough:///"+c.Addrs()[0].String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		service, want := "", codes.OK
		if i%2 == 1 {
			service, want = "nothing", codes.NotFound
		}
		if _, err := grpc_health_v1.NewHealthClient(conn).Check(t.Context(), &grpc_health_v1.HealthCheckRequest{Service: service}); status.Code(err) != want {
			t.Errorf("check %q: %v, want %s", service, err, want)
		}
		conn.Close()
	}
	c.stop()
	out := play(t, tapesOf(t, js))
	got := map[string]int{}
	for _, row := range out.rows {
		got[fmt.Sprintf("%s %s %s %s %s", row.Protocol, row.Method, row.Template, row.Status, row.Class.Name())]++
	}
	ok, missing := "grpc Check /grpc.health.v1.Health/Check OK ok", "grpc Check /grpc.health.v1.Health/Check NOT_FOUND client"
	if len(got) != 2 || got[ok] != 5 || got[missing] != 5 {
		t.Errorf("recorded %v, want 5 of %q and of %q", got, ok, missing)
	}
}
