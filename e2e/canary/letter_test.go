package canary

import (
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

// place is where a secret stands, and how.
type place struct {
	name  string
	large bool // not sent but by `make test-canary`, and once
	// secret makes the n-th.
	secret func(r *rand.Rand, n int) string
	// send puts the secret there, the n-th of this place, and returns how it
	// stands on the wire where that is no form of it.
	send func(w *wires, secret string, n int) (as []string)
}

// letter is a request over HTTP. The origin answers with the same headers,
// body and trailers.
type letter struct {
	call                string // path of a gRPC method, instead of one below /a
	method, path, query string
	headers             []string // name, value, …
	contentType, body   string
	coding              string
	trailers            []string
	http1               bool // can't be said in HTTP/2
	as                  []string
}

// byLooks and byName make places of letters.
func byLooks(name string, put func(s string) letter) place {
	return place{name: name, secret: anyLooks, send: mail(put)}
}

func byName(name string, put func(s string) letter) place {
	return place{name: name, secret: noLooks, send: mail(put)}
}

// anyLooks make secrets that are known by their looks, of each kind in turn.
func anyLooks(r *rand.Rand, n int) string { return looks[n%len(looks)](r) }

// noLooks make secrets that only a name says to be one.
func noLooks(r *rand.Rand, _ int) string { return word(r, 20) }

// always makes secrets of one kind.
func always(kind func(*rand.Rand) string, p place) place {
	p.secret = func(r *rand.Rand, _ int) string { return kind(r) }
	return p
}

func large(p place) place {
	p.large = true
	return p
}

// mail sends letters by HTTP/1 and HTTP/2 in turn.
func mail(put func(s string) letter) func(w *wires, secret string, n int) []string {
	return func(w *wires, secret string, n int) []string {
		l := put(secret)
		web := w.http1
		if n%2 == 1 && !l.http1 {
			web = w.http2
		}
		l.send(w.t, web, "http://"+w.inbound)
		return l.as
	}
}

func (l letter) send(t testing.TB, web *http.Client, base string) {
	t.Helper()
	target := base + cmp.Or(l.call, "/a"+l.path)
	if l.query != "" {
		target += "?" + l.query
	}
	method := "POST"
	if l.method != "" {
		method = l.method
	}
	request, err := http.NewRequest(method, target, io.NopCloser(strings.NewReader(l.body)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept-Encoding", "identity")
	if l.contentType != "" {
		request.Header.Set("Content-Type", l.contentType)
	}
	if l.coding != "" {
		request.Header.Set("Content-Encoding", l.coding)
	}
	for i := 0; i < len(l.headers); i += 2 {
		request.Header[l.headers[i]] = append(request.Header[l.headers[i]], l.headers[i+1])
	}
	for i := 0; i < len(l.trailers); i += 2 {
		if request.Trailer == nil {
			request.Trailer = http.Header{}
		}
		request.Trailer[l.trailers[i]] = append(request.Trailer[l.trailers[i]], l.trailers[i+1])
	}
	answer, err := web.Do(request)
	if err != nil {
		t.Errorf("%s %.200s: %v", method, fmt.Sprint(l), err)
		return
	}
	got, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil || string(got) != l.body {
		t.Errorf("%s: the client was answered %d bytes, %v, want its %d", target, len(got), err, len(l.body))
	}
}
