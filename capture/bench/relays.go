package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"time"
)

// The sides in Go that capture is compared with: the least that a program
// does which relays.

// relayRole copies both ways. Go lets the kernel splice, so that it never
// sees a byte.
func relayRole(ctx context.Context, address, upstream string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	return relay(ctx, l, func() (net.Conn, error) { return net.Dial("tcp", upstream) })
}

// tlsRelayRole decrypts, copies and encrypts again.
func tlsRelayRole(ctx context.Context, address, upstream, certificate, key string) error {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(certificate)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	l, err := tls.Listen("tcp", address, &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		return err
	}
	return relay(ctx, l, func() (net.Conn, error) { return tls.Dial("tcp", upstream, &tls.Config{RootCAs: roots}) })
}

func relay(ctx context.Context, l net.Listener, dial func() (net.Conn, error)) error {
	context.AfterFunc(ctx, func() { l.Close() })
	for {
		client, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		go func() {
			defer client.Close()
			server, err := dial()
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				return
			}
			defer server.Close()
			go func() {
				io.Copy(server, client)
				server.(interface{ CloseWrite() error }).CloseWrite()
			}()
			io.Copy(client, server)
		}()
	}
}

// reverseProxyRole is httputil.ReverseProxy as it should be set up: enough
// idle connections, no copy buffer made for each request.
func reverseProxyRole(ctx context.Context, address, upstream, protocol string) error {
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: upstream})
	transport := &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024, DisableCompression: true, IdleConnTimeout: 90 * time.Second}
	if protocol == "h2" {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	proxy.Transport, proxy.BufferPool = transport, buffers{}
	server := &http.Server{Addr: address, Handler: proxy, Protocols: bothProtocols()}
	context.AfterFunc(ctx, func() { server.Close() })
	return unlessClosed(server.ListenAndServe())
}

type buffers struct{}

var bufferPool = sync.Pool{New: func() any { return new([32 << 10]byte) }}

func (buffers) Get() []byte  { return bufferPool.Get().(*[32 << 10]byte)[:] }
func (buffers) Put(b []byte) { bufferPool.Put((*[32 << 10]byte)(b)) }
