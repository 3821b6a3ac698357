package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// dial opens a connection as far as the first request.
func (w *loader) dial(ctx context.Context) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", w.Address)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	if w.Connect {
		if err := connect(conn, w.Host); err != nil {
			return nil, err
		}
	}
	if !w.TLS {
		return conn, nil
	}
	config, err := w.tlsConfig()
	if err != nil {
		return nil, err
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	return secure, nil
}

func (w *loader) tlsConfig() (*tls.Config, error) {
	if w.Roots == "" {
		return &tls.Config{InsecureSkipVerify: true}, nil
	}
	text, err := os.ReadFile(w.Roots)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate", w.Roots)
	}
	return &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}, nil
}

func connect(conn net.Conn, host string) error {
	if _, err := fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n", host, host); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), &http.Request{Method: http.MethodConnect})
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("CONNECT: %s", response.Status)
	}
	return nil
}

// idle opens connections, asks once on each, and leaves them open.
func (w *loader) idle(ctx context.Context) error {
	request := w.build()[0]
	for range w.Connections {
		conn, err := w.dial(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := w.ask(conn, bufio.NewReader(conn), request); err != nil {
			return err
		}
	}
	fmt.Println("open")
	<-ctx.Done()
	return nil
}
