package s3test_test

import (
	"net/http"
	"testing"

	"tapedeck/internal/s3test"
)

// A server refuses strangers, can be stopped and comes back with what it had.
func TestServer(t *testing.T) {
	s := s3test.Start(t, "bucket")
	get := func() (int, error) {
		resp, err := http.Get(s.Endpoint() + "/bucket/key")
		if err != nil {
			return 0, err
		}
		resp.Body.Close()
		return resp.StatusCode, nil
	}
	if status, err := get(); err != nil || status != http.StatusForbidden {
		t.Errorf("unsigned request: got status %d and error %v, want %d", status, err, http.StatusForbidden)
	}
	s.Stop()
	if status, err := get(); err == nil {
		t.Errorf("stopped server answered with status %d", status)
	}
	if err := s.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, err := get(); err != nil || status != http.StatusForbidden {
		t.Errorf("after a restart: got status %d and error %v, want %d", status, err, http.StatusForbidden)
	}
}
