package mocksrv

import (
	"testing"

	"tapedeck/events"
)

func TestNameOneself(t *testing.T) {
	for _, tt := range []struct{ name, kind, coding, body, want string }{
		{"JSON", "application/json", "", `{"self":"http://shop:80/a","other":"http://shop:8080/b"}`, `{"self":"http://127.0.0.1:9/a","other":"http://shop:8080/b"}`},
		{"at the end", "text/plain", "", "see http://shop:80", "see http://127.0.0.1:9"},
		{"another name", "text/plain", "", "http://eshop:80 http://shop:80.test", "http://eshop:80 http://shop:80.test"},
		{"packed", "text/plain", "gzip", "http://shop:80", "http://shop:80"},
		{"an image", "image/png", "", "http://shop:80", "http://shop:80"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &events.Response{Headers: []*events.Field{
				{Name: []byte("Content-Type"), Value: []byte(tt.kind)}, {Name: []byte("location"), Value: []byte("https://shop:80/x")},
				{Name: []byte("Content-Encoding"), Value: []byte(tt.coding)},
			}, Body: &events.Body{Data: []byte(tt.body)}}
			nameOneself(r, "shop:80", "127.0.0.1:9")
			if got := string(r.Body.Data); got != tt.want || r.Body.Size != r.Body.Kept && r.Body.Size != 0 {
				t.Errorf("body %s, want %s", got, tt.want)
			}
			if got := string(r.Headers[1].Value); got != "https://127.0.0.1:9/x" {
				t.Errorf("location %s", got)
			}
		})
	}
}
