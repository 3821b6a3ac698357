package demo

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs one process of the shop and returns its address.
func start(t *testing.T, c Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l, c, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return l.Addr().String()
}

func startShop(t *testing.T, regression bool) string {
	t.Helper()
	c := Config{Orders: "http://orders.shop", Catalog: "http://catalog.shop", Payments: "http://payments.example",
		Connect: map[string]string{}, Regression: regression}
	for _, s := range []struct{ name, host string }{
		{"payments", "payments.example"}, {"catalog", "catalog.shop"}, {"orders", "orders.shop"},
	} {
		c.Name = s.name
		c.Connect[s.host] = start(t, c)
	}
	c.Name = "gateway"
	return "http://" + start(t, c)
}

func TestDriveMeetsEveryPath(t *testing.T) {
	sent, err := Drive(t.Context(), startShop(t, false), 2)
	if err != nil {
		t.Fatal(err)
	}
	if want := 64; sent != want {
		t.Errorf("sent %d requests, want %d", sent, want)
	}
}

func TestRegressionIsAWrongTotal(t *testing.T) {
	_, err := Drive(t.Context(), startShop(t, true), 1)
	if err == nil || !strings.Contains(err.Error(), "is wrong") {
		t.Errorf("Drive = %v, want a wrong total", err)
	}
}
