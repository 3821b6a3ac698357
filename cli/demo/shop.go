// Package demo is a small shop to record: three services that call each other
// and an outside payment API, in plain net/http. It knows nothing of tapedeck.
//
//	customer → gateway ─→ catalog
//	              └─→ orders ─→ catalog
//	                     └─→ payments.example (outside)
//
// Customers log in with a password and get a token, look at products, fill a
// cart and order. One endpoint is slow, a card may be declined, an item may be
// unknown. Config.Regression plants a mistake that a release could contain.
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config is one process of the shop.
type Config struct {
	Name       string            `arg:"" enum:"gateway,orders,catalog,payments,all" help:"gateway, orders, catalog or payments; all = gateway, orders and catalog in one process."`
	Listen     string            `default:"127.0.0.1:0" placeholder:"ADDR" help:"Address to listen on (all: the gateway's)."`
	Orders     string            `env:"ORDERS_URL" default:"http://orders.shop" placeholder:"URL" help:"Base URL of the orders service."`
	Catalog    string            `env:"CATALOG_URL" default:"http://catalog.shop" placeholder:"URL" help:"Base URL of the catalog service."`
	Payments   string            `env:"PAYMENTS_URL" default:"http://payments.example" placeholder:"URL" help:"Base URL of the payment API."`
	Connect    map[string]string `env:"SHOP_CONNECT" placeholder:"HOST=ADDR;…" help:"Where hosts really are, e.g. orders.shop=127.0.0.1:8001: the shop's name service."`
	Products   int               `placeholder:"N" help:"So many products more than the demo's five."`
	Customers  int               `placeholder:"N" help:"So many customers more than the demo's three."`
	Regression bool              `help:"Plant a mistake: the total forgets the tax."`
}

// Run serves until ctx is done.
func Run(ctx context.Context, c Config, log *slog.Logger) error {
	if c.Name == "all" {
		return runAll(ctx, c, log)
	}
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("shop %s: %w", c.Name, err)
	}
	return serve(ctx, l, c, log)
}

// runAll runs the shop's own three services in one process, orders and
// catalog on any free port.
func runAll(ctx context.Context, c Config, log *slog.Logger) error {
	gateway, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("shop: %w", err)
	}
	connect := map[string]string{}
	listeners := map[string]net.Listener{"gateway": gateway}
	for _, name := range []string{"orders", "catalog"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("shop %s: %w", name, err)
		}
		listeners[name], connect[name+".shop"] = l, l.Addr().String()
	}
	for host, address := range c.Connect {
		connect[host] = address
	}
	c.Connect = connect
	group, ctx := errgroup.WithContext(ctx)
	for name, l := range listeners {
		one := c
		one.Name = name
		group.Go(func() error { return serve(ctx, l, one, log) })
	}
	return group.Wait()
}

func serve(ctx context.Context, l net.Listener, c Config, log *slog.Logger) error {
	server := &http.Server{Handler: withTrace(handler(c)), ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(bounded) != nil {
			server.Close()
		}
	})
	defer stop()
	log.Debug("shop listens", "service", c.Name, "address", l.Addr().String())
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("shop %s: %w", c.Name, err)
	}
	<-stopped // Serve returns when Shutdown begins
	return nil
}

// handler is the service that c names.
func handler(c Config) http.Handler {
	client := newClient(c.Connect)
	switch c.Name {
	case "catalog":
		return newCatalog(c)
	case "orders":
		return newOrders(client, c)
	case "payments":
		return newPayments()
	default:
		return newGateway(client, c)
	}
}
