package service_test

import (
	"testing"

	"tapedeck/internal/service"
)

func TestSize(t *testing.T) {
	for text, want := range map[string]struct {
		size service.Size
		text string
	}{
		"0": {0, "0"}, "16MiB": {16 << 20, "16MiB"}, "16 mib": {16 << 20, "16MiB"}, "1024KiB": {1 << 20, "1MiB"},
		"7": {7, "7"}, "7B": {7, "7"}, "3GiB": {3 << 30, "3GiB"}, "5MB": {5e6, "5000000"}, "2kB": {2000, "2000"},
	} {
		var got service.Size
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want.size || got.String() != want.text {
			t.Errorf("%q: got %d (%s), %v; want %d (%s)", text, got, got, err, want.size, want.text)
		}
	}
	for _, bad := range []string{"", "MiB", "-1", "1.5MiB", "16 M", "99999999999GiB"} {
		var got service.Size
		if err := got.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q was read as %d", bad, got)
		}
	}
}
