package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

const (
	smallBody = 1024
	largeBody = 1 << 20
	small     = "/api/v1/items/" // prefixes of paths
	large     = "/api/v1/files/"
)

// jsonBody is a JSON object of exactly n bytes.
func jsonBody(n int) []byte {
	const head, tail = `{"id":17,"name":"a product","price":12.5,"tags":["alpha","beta"],"description":"`, `"}`
	return []byte(head + strings.Repeat("lorem ipsum dolor ", n/18)[:n-len(head)-len(tail)] + tail)
}

// answerAll answers every request, in JSON.
func answerAll() http.Handler {
	answer := func(n int) http.HandlerFunc {
		body, length := jsonBody(n), []string{strconv.Itoa(n)}
		kind := []string{"application/json"}
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Content-Type"], w.Header()["Content-Length"] = kind, length
			w.Write(body)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc(small, answer(smallBody))
	mux.HandleFunc(large, answer(largeBody))
	return mux
}

func bothProtocols() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return &p
}

// originRole is the service that all sides lead to: HTTP/1.1 and HTTP/2 in
// clear, HTTP/1.1 by TLS, and gRPC health checks.
func originRole(ctx context.Context, clear, secure, rpc, certificate, key string) error {
	pair, err := tls.LoadX509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	plain, err := net.Listen("tcp", clear)
	if err != nil {
		return err
	}
	encrypted, err := tls.Listen("tcp", secure, &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		return err
	}
	calls, err := net.Listen("tcp", rpc)
	if err != nil {
		return err
	}
	web := &http.Server{Handler: answerAll(), Protocols: bothProtocols()}
	service := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(service, health.NewServer())
	context.AfterFunc(ctx, func() { web.Close(); service.Stop() })
	var all errgroup.Group
	all.Go(func() error { return unlessClosed(web.Serve(plain)) })
	all.Go(func() error { return unlessClosed(web.Serve(encrypted)) })
	all.Go(func() error { return service.Serve(calls) })
	return all.Wait()
}

func unlessClosed(err error) error {
	if err == http.ErrServerClosed {
		return nil
	}
	return err
}
