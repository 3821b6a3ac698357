package harness

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Template variables read text and value of exactly one frame.
func (v views) values(t *testing.T) {
	for key, want := range map[string][]string{
		"service": {"gateway", "orders"}, "cluster": {"local"}, "namespace": {"demo"}, "version": {"1.0"}, "direction": {"inbound", "outbound"},
		"host":  {"db:5432", "orders:8080", "pay.example", "shop.example"},
		"class": {"ok", "client", "server", "failed"}, "status": {"200", "404", "503"}, "protocol": {"http", "postgres"},
		"endpoint": {"/charge", "/checkout", "/missing", "/orders", "select * from stock where id = ?"}, "tag.tenant": {"a"}, "scenario": {"checkout"}, "replay": nil,
	} {
		f := v.one(t, "values", model{"key": key})
		if diff := cmp.Diff(want, column[string](t, f, "text")); diff != "" || len(f.Fields) != 2 {
			t.Errorf("%s: %s", key, diff)
		}
	}
	f := v.one(t, "values", model{"key": "host", "selector": `{service="orders"}`, "direction": "outbound"})
	if diff := cmp.Diff([]string{"db:5432", "pay.example"}, column[string](t, f, "value")); diff != "" {
		t.Error(diff)
	}
}

// What ad-hoc filters offer narrows what queries find.
func (v views) filters(t *testing.T) {
	var keys, hosts []struct{ Text string }
	v.resource(t, "keys", 200, &keys)
	for _, want := range []string{"service", "status", "tag.tenant"} {
		if !slices.Contains(keys, struct{ Text string }{want}) {
			t.Errorf("no key %q in %v", want, keys)
		}
	}
	v.resource(t, `values?key=host&filters=%5B%7B%22key%22%3A%22service%22%2C%22operator%22%3A%22%3D%22%2C%22value%22%3A%22orders%22%7D%5D`, 200, &hosts)
	if diff := cmp.Diff([]struct{ Text string }{{"db:5432"}, {"orders:8080"}, {"pay.example"}}, hosts); diff != "" {
		t.Error(diff)
	}
	for path, status := range map[string]int{"values?key=happiness": 400, "values?key=trace": 400, "values?key=host&from=x": 400, "nothing": 404} {
		v.resource(t, path, status, nil)
	}
	filters := []model{{"key": "class", "operator": "!=", "value": "ok"}, {"key": "host", "operator": "=|", "value": "pay.example", "values": []string{"pay.example", "db:5432"}}}
	f := v.one(t, "top", model{"filters": filters, "groupBy": []string{"host"}})
	if diff := cmp.Diff([]float64{minutes / 5}, column[float64](t, f, "requests")); diff != "" {
		t.Error(diff)
	}
	// A value is a value, whatever is in it.
	f = v.one(t, "top", model{"filters": []model{{"key": "host", "operator": "=", "value": `x' or '1'='1`}}})
	if f.Rows() != 0 {
		t.Errorf("%d rows of a host that is not there", f.Rows())
	}
}

func (v views) resource(t *testing.T, path string, status int, to any) {
	t.Helper()
	res, err := v.h.Resource(t.Context(), v.who, path)
	if err != nil {
		t.Fatal(err)
	}
	if res.Status != status {
		t.Fatalf("%s: %d %s, want %d", path, res.Status, res.Body, status)
	}
	if to != nil {
		if err := json.Unmarshal(res.Body, to); err != nil {
			t.Fatal(err)
		}
	}
}
