package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Debug is the listener every process has for its operators: /healthz (the
// process lives), /readyz (it works), /metrics, /debug/pprof, /version.
type Debug struct {
	Registry *prometheus.Registry
	ready    atomic.Pointer[func() error]
	listener net.Listener
}

// NewDebug binds address at once; "" means no listener, but a Registry.
func NewDebug(address string) (*Debug, error) {
	d := &Debug{Registry: prometheus.NewRegistry()}
	d.Registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if address == "" {
		return d, nil
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, Hint(fmt.Errorf("listen on --http %s: %w", address, err), "choose a free address")
	}
	d.listener = l
	return d, nil
}

// Ready says what /readyz asks; without it the process is ready when it lives.
func (d *Debug) Ready(check func() error) { d.ready.Store(&check) }

// Address is where it listens, "" if it does not.
func (d *Debug) Address() string {
	if d.listener == nil {
		return ""
	}
	return d.listener.Addr().String()
}

// Run serves until ctx is done.
func (d *Debug) Run(ctx context.Context) error {
	if d.listener == nil {
		<-ctx.Done()
		return nil
	}
	server := &http.Server{Handler: d.mux(), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10}
	stop := context.AfterFunc(ctx, func() {
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if server.Shutdown(bounded) != nil {
			server.Close()
		}
	})
	defer stop()
	if err := server.Serve(d.listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("debug listener: %w", err)
	}
	return nil
}

func (d *Debug) mux() *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if check := d.ready.Load(); check != nil {
			if err := (*check)(); err != nil {
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(Version())
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.Registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}
