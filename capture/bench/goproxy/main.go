// Command goproxybench is elazarl/goproxy as a recorder: a proxy that opens
// TLS and writes each request and response to a file, behind a bounded channel.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/elazarl/goproxy"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9001", "address")
	file := flag.String("record", "", "file for the exchanges; default: nothing is recorded")
	roots := flag.String("roots", "", "PEM file to verify upstreams with")
	flag.Parse()
	if err := run(*listen, *file, *roots); err != nil {
		log.Fatal(err)
	}
}

func run(listen, file, roots string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	proxy, err := newProxy(roots)
	if err != nil {
		return err
	}
	if file != "" {
		w, err := newWriter(file)
		if err != nil {
			return err
		}
		defer w.close()
		proxy.OnResponse().DoFunc(w.record)
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	go http.Serve(l, proxy)
	<-ctx.Done()
	return nil
}

func newProxy(roots string) (*goproxy.ProxyHttpServer, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		return nil, err
	}
	if roots != "" {
		text, err := os.ReadFile(roots)
		if err != nil {
			return nil, err
		}
		pool.AppendCertsFromPEM(text)
	}
	proxy := goproxy.NewProxyHttpServer()
	proxy.Tr = &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024, DisableCompression: true, TLSClientConfig: &tls.Config{RootCAs: pool}}
	proxy.CertStore = &leaves{of: map[string]*tls.Certificate{}}
	proxy.OnRequest().HandleConnect(goproxy.AlwaysMitm)
	return proxy, nil
}

// leaves keeps certificates: without it each connection makes one.
type leaves struct {
	mu sync.Mutex
	of map[string]*tls.Certificate
}

func (l *leaves) Fetch(host string, make func() (*tls.Certificate, error)) (*tls.Certificate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.of[host]; c != nil {
		return c, nil
	}
	c, err := make()
	if err == nil {
		l.of[host] = c
	}
	return c, err
}

// writer writes exchanges in the order in which they ended.
type writer struct {
	exchanges chan [2][]byte
	done      chan struct{}
	dropped   int
	mu        sync.Mutex
}

func newWriter(file string) (*writer, error) {
	f, err := os.Create(file)
	if err != nil {
		return nil, err
	}
	w := &writer{exchanges: make(chan [2][]byte, 1<<16), done: make(chan struct{})}
	go func() {
		defer close(w.done)
		out := bufio.NewWriterSize(f, 1<<20)
		var lengths [8]byte
		n := 0
		for x := range w.exchanges {
			binary.LittleEndian.PutUint32(lengths[:4], uint32(len(x[0])))
			binary.LittleEndian.PutUint32(lengths[4:], uint32(len(x[1])))
			out.Write(lengths[:])
			out.Write(x[0])
			out.Write(x[1])
			n++
		}
		out.Flush()
		f.Close()
		fmt.Println("recorded", n, "dropped", w.dropped)
	}()
	return w, nil
}

func (w *writer) record(response *http.Response, ctx *goproxy.ProxyCtx) *http.Response {
	if response == nil {
		return response
	}
	request, err := httputil.DumpRequest(ctx.Req, false)
	if err != nil {
		return response
	}
	answer, err := httputil.DumpResponse(response, true)
	if err != nil {
		return response
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.exchanges <- [2][]byte{request, answer}:
	default:
		w.dropped++
	}
	return response
}

func (w *writer) close() {
	w.mu.Lock() // nobody sends any more
	close(w.exchanges)
	<-w.done
}
