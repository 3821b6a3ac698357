package fidelity

import (
	"io"
	"log"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"
)

// rewriting is what most recorders are: an HTTP server in front of an HTTP
// client.
func rewriting(t *testing.T, to string) (address string) {
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: to})
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	s := httptest.NewUnstartedServer(proxy)
	s.Config.ErrorLog = proxy.ErrorLog
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// TestARewritingProxyIsFound: the checks fail where they should, on
// well-formed requests too.
func TestARewritingProxyIsFound(t *testing.T) {
	t.Parallel()
	direct := origins[0].start(t, time.Minute)
	proxy := rewriting(t, direct)
	var all []*talk
	for i, k := range cases() {
		if i%8 == 0 { // each case that it fails is tried again and again
			all = append(all, k)
		}
	}
	var n comparison
	var found atomic.Int32
	some(all, finish, func(k *talk) {
		if n.of(k, direct, proxy) != nil {
			found.Add(1)
		}
	})
	t.Logf("%d of %d cases differ behind a rewriting proxy", found.Load(), n.cases.Load())
	if found.Load() < n.cases.Load()/4 { // others are refused by both, in the same words
		t.Error("want many")
	}
	s := &socket{listenLocal(t)}
	proxy = rewriting(t, s.l.Addr().String())
	for _, request := range []string{get, chunked, last} {
		if err := s.check(proxy, &talk{pieces: []string{request}}, script{answer: answers[0]}); err == nil {
			t.Errorf("%q: no difference is seen at the origin", request)
		} else {
			t.Log(err)
		}
	}
}
