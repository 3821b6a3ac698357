package harness

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/grafana/grafana-plugin-sdk-go/backend"
)

// grafana answers the few requests that the plugin's browser side makes, with
// the real plugin. Everything else is a file of the folders out and dist.
func grafana(h *Host, who backend.PluginContext) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/ds/query", func(w http.ResponseWriter, r *http.Request) {
		req, err := readQueries(r, who)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		res, err := h.Query(r.Context(), req)
		respond(w, res, err)
	})
	mux.HandleFunc("GET /api/datasources/uid/{uid}/health", func(w http.ResponseWriter, r *http.Request) {
		res, err := h.Health(r.Context(), who)
		if err != nil {
			respond(w, nil, err)
			return
		}
		respond(w, map[string]any{"status": res.Status.String(), "message": res.Message, "details": json.RawMessage(res.JSONDetails)}, nil)
	})
	mux.Handle("GET /plugin/", http.StripPrefix("/plugin/", http.FileServer(http.Dir("../datasource/dist"))))
	for _, images := range []string{"/public/img/", "/public/build/img/"} { // of Grafana 12 and 13
		mux.Handle("GET "+images, http.StripPrefix(images, http.FileServer(http.Dir("../node_modules/@grafana/ui/dist/public/img"))))
	}
	mux.Handle("GET /out/", http.StripPrefix("/out/", http.FileServer(http.Dir("out"))))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Write([]byte(page)) // a page that is gone needs no answer
	})
	return mux
}

const page = `<!doctype html>
<title>tapedeck harness</title>
<link rel="stylesheet" href="/out/shell.css">
<link rel="icon" href="data:,">
<div id="root"></div>
<script src="/out/shell.js"></script>
`

func readQueries(r *http.Request, who backend.PluginContext) (*backend.QueryDataRequest, error) {
	var body struct {
		From, To string // Unix ms
		Queries  []json.RawMessage
	}
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		return nil, err
	}
	from, err := strconv.ParseInt(body.From, 10, 64)
	if err != nil {
		return nil, err
	}
	to, err := strconv.ParseInt(body.To, 10, 64)
	if err != nil {
		return nil, err
	}
	req := &backend.QueryDataRequest{PluginContext: who}
	for _, raw := range body.Queries {
		var q struct {
			RefID, QueryType          string
			MaxDataPoints, IntervalMs int64
		}
		if err := json.Unmarshal(raw, &q); err != nil {
			return nil, err
		}
		req.Queries = append(req.Queries, backend.DataQuery{
			RefID: q.RefID, QueryType: q.QueryType, MaxDataPoints: q.MaxDataPoints, JSON: raw,
			Interval:  time.Duration(q.IntervalMs) * time.Millisecond,
			TimeRange: backend.TimeRange{From: time.UnixMilli(from), To: time.UnixMilli(to)},
		})
	}
	return req, nil
}

func respond(w http.ResponseWriter, answer any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer) // a page that is gone needs no answer
}
