package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Debug is the listener every process has for its operators: /healthz (the
// process lives), /readyz (it works), /status (how it does), /metrics,
// /debug/pprof, /version.
type Debug struct {
	Registry *prometheus.Registry
	ready    atomic.Pointer[func() error]
	statuses sync.Map // func() any by name
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

// Status adds to what /status shows, in JSON: what needs a person's eye and is
// no reason to be unready.
func (d *Debug) Status(name string, get func() any) { d.statuses.Store(name, get) }

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
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		all := map[string]any{}
		d.statuses.Range(func(name, get any) bool {
			all[name.(string)] = get.(func() any)()
			return true
		})
		writeJSON(w, all)
	})
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, Version())
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(d.Registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}
