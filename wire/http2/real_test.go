package http2

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"tapedeck/events"
	"tapedeck/internal/wiretest"
)

// unencrypted is HTTP/2 without TLS, from the first byte on.
func unencrypted() *http.Protocols {
	p := &http.Protocols{}
	p.SetUnencryptedHTTP2(true)
	return p
}

// serve is a server of HTTP/2 without TLS behind a relay.
func serve(t *testing.T, handler http.HandlerFunc) *wiretest.Relay {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = unencrypted()
	server.Start()
	t.Cleanup(server.Close)
	return wiretest.NewRelay(t, server.Listener.Addr().String())
}

// transport is a client of HTTP/2 without TLS.
func transport() *http.Transport { return &http.Transport{Protocols: unencrypted()} }

// dissected are the exchanges of a connection, found in pieces of any size.
func dissected(t *testing.T, chunks []wiretest.Chunk) *wiretest.Sink {
	t.Helper()
	want := wiretest.Dissect(&Protocol{}, chunks, 1<<20)
	want.Check(t)
	for _, n := range []int{1, 5, 1000} {
		got := wiretest.Dissect(&Protocol{}, chunks, n)
		got.Check(t)
		if !slices.EqualFunc(want.Ended, got.Ended, sameExchange) {
			t.Fatalf("pieces of %d bytes make a difference (-whole +pieces):\n%s", n, cmp.Diff(want.Ended, got.Ended, protocmp.Transform()))
		}
	}
	return want
}

// sameExchange is blind for how many parts a body was written in.
func sameExchange(a, b *events.Exchange) bool {
	a, b = proto.CloneOf(a), proto.CloneOf(b)
	for _, x := range []*events.Exchange{a, b} {
		x.Request.Body.Parts = nil
		if x.Response != nil {
			x.Response.Body.Parts = nil
		}
	}
	return proto.Equal(a, b)
}

func TestManyStreams(t *testing.T) {
	relay := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("X-Path", r.URL.Path)
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(201)
		w.(http.Flusher).Flush()
		fmt.Fprintf(w, "%s of %d", r.URL.Path, len(body))
		w.Header().Set("X-Sum", "7")
	})
	tr := transport()
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			request, _ := http.NewRequest("POST", fmt.Sprintf("http://%s/orders/%d?q=1", relay.Address, i), io.LimitReader(strings.NewReader(strings.Repeat("x", 300)), int64(i)))
			request.Trailer = http.Header{"X-End": {"1"}}
			response, err := tr.RoundTrip(request)
			if err != nil {
				t.Error(err)
				return
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if want := fmt.Sprintf("/orders/%d of %d", i, i); string(body) != want || err != nil {
				t.Errorf("got %q (%v), want %q", body, err, want)
			}
		})
	}
	all.Wait()
	count := 0
	for _, chunks := range relay.Connections(1, tr.CloseIdleConnections) {
		for _, x := range dissected(t, chunks).Ended {
			count++
			var n int
			fmt.Sscanf(x.Request.Target, "/orders/%d?q=1", &n)
			if x.Request.Method != "POST" || x.Request.Host != relay.Address || x.Request.Scheme != "http" || x.Request.Version != Version ||
				len(x.Request.Body.Data) != n || x.Response.Status != "201" || string(x.Response.Body.Data) != fmt.Sprintf("/orders/%d of %d", n, n) ||
				events.HeaderValue(x.Response.Trailers, "x-sum") != "7" || events.HeaderValue(x.Request.Trailers, "x-end") != "1" || x.Failure != "" {
				t.Errorf("got %v", x)
			}
			d := (&Protocol{}).Describe(x)
			if d.Endpoint.Template != "/orders/{id}" || d.Endpoint.Protocol != "http" || d.Status != "201" || d.Class != events.StatusClass_OK {
				t.Errorf("got %+v", d)
			}
		}
	}
	if count != 100 {
		t.Errorf("%d exchanges, want 100", count)
	}
}

// Long bodies, both ways at once, and headers that the table is too small for.
func TestLongBodiesAndHeads(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	long := strings.Repeat("y", 60_000)
	relay := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Long", r.Header.Get("X-Long"))
		io.Copy(w, r.Body)
	})
	tr := transport()
	for range 2 {
		request, _ := http.NewRequest("PUT", "http://"+relay.Address+"/", bytes.NewReader(body))
		request.Header.Set("X-Long", long)
		response, err := tr.RoundTrip(request)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(response.Body); !bytes.Equal(got, body) {
			t.Fatalf("got %d bytes (%v), want %d", len(got), err, len(body))
		}
		response.Body.Close()
	}
	s := dissected(t, relay.Connections(1, tr.CloseIdleConnections)[0])
	if len(s.Ended) != 2 {
		t.Fatalf("%d exchanges, want 2", len(s.Ended))
	}
	for _, x := range s.Ended {
		for _, side := range []events.Side{events.Side_REQUEST, events.Side_RESPONSE} {
			if got := s.Whole(x, side); !bytes.Equal(got, body) {
				t.Errorf("%s: %d bytes, want %d", side, len(got), len(body))
			}
		}
		if b := x.Response.Body; len(b.Data) != events.BodyInline || b.Size != int64(len(body)) || b.Kept != b.Size || len(b.Parts) == 0 {
			t.Errorf("%d inline, size %d, kept %d, %d parts", len(b.Data), b.Size, b.Kept, len(b.Parts))
		}
		if got := events.HeaderValue(x.Response.Headers, "x-long"); got != long {
			t.Errorf("header of %d bytes, want %d", len(got), len(long))
		}
	}
}

// A client that gives up, a server that does, early hints, a HEAD, and an
// answer before the request has ended.
func TestTrouble(t *testing.T) {
	cancelled := make(chan struct{})
	relay := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow":
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			close(cancelled)
		case "/abort":
			w.WriteHeader(200)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case "/hints":
			w.Header().Set("Link", "</style.css>")
			w.WriteHeader(103)
			w.WriteHeader(204)
		case "/early":
			w.WriteHeader(413)
		}
	})
	tr := transport()
	do := func(ctx context.Context, method, path string, body io.Reader) {
		request, _ := http.NewRequestWithContext(ctx, method, "http://"+relay.Address+path, body)
		response, err := tr.RoundTrip(request)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if path == "/slow" {
			return
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	do(ctx, "GET", "/slow", nil)
	cancel()
	<-cancelled
	do(t.Context(), "GET", "/abort", nil)
	do(t.Context(), "GET", "/hints", nil)
	do(t.Context(), "HEAD", "/head", nil)
	upload, more := io.Pipe()
	do(t.Context(), "POST", "/early", upload)
	more.Close()
	got := map[string]string{}
	for _, x := range dissected(t, relay.Connections(1, tr.CloseIdleConnections)[0]).Ended {
		got[x.Request.Target] = fmt.Sprintf("%s %d %s %s", x.Request.Method, len(x.Interim), x.Response.GetStatus(), x.Failure)
	}
	want := map[string]string{
		"/slow": "GET 0 200 reset by client: CANCEL", "/abort": "GET 0 200 reset by server: INTERNAL_ERROR",
		"/hints": "GET 1 204 ", "/head": "HEAD 0 200 ", "/early": "POST 0 413 ",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("exchanges (-want +got):\n%s", diff)
	}
}

func TestCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("curl is missing")
	}
	if out, _ := exec.Command(curl, "--version").Output(); !bytes.Contains(out, []byte("HTTP2")) {
		t.Skip("curl without HTTP/2")
	}
	relay := serve(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	address := "http://" + relay.Address
	for path, body := range map[string]string{"/a": "one=1", "/b": "two=2"} {
		out, err := exec.CommandContext(t.Context(), curl, "-s", "--http2-prior-knowledge", "-d", body, address+path).CombinedOutput()
		if err != nil || string(out) != body {
			t.Fatalf("curl: %v: %s", err, out)
		}
	}
	var got []string
	for _, chunks := range relay.Connections(2, func() {}) {
		for _, x := range dissected(t, chunks).Ended {
			got = append(got, fmt.Sprintf("%s %s %s %s > %s %s%s", x.Request.Method, x.Request.Target, x.Request.Body.Data, events.HeaderValue(x.Request.Headers, "content-type"), x.Response.Status, x.Response.Body.Data, x.Failure))
		}
	}
	slices.Sort(got)
	const form = "application/x-www-form-urlencoded"
	if diff := cmp.Diff([]string{"POST /a one=1 " + form + " > 200 one=1", "POST /b two=2 " + form + " > 200 two=2"}, got); diff != "" {
		t.Errorf("exchanges (-want +got):\n%s", diff)
	}
}

func TestTimes(t *testing.T) {
	relay := serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	before := time.Now()
	tr := transport()
	request, _ := http.NewRequest("GET", "http://"+relay.Address+"/", nil)
	response, err := tr.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, response.Body)
	response.Body.Close()
	after := time.Now()
	x := dissected(t, relay.Connections(1, tr.CloseIdleConnections)[0]).Ended[0]
	times := []int64{before.UnixNano(), x.Request.FirstByte, x.Request.LastByte, x.Response.FirstByte, x.Response.LastByte, after.UnixNano()}
	if !slices.IsSorted(times) {
		t.Errorf("times are out of order: %v", times)
	}
}
