package events

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestHideSecrets(t *testing.T) {
	got := HideSecrets([]Difference{
		{Place: "response.body.$.user.token", Want: "td1_k1_00", Got: "SECRET"},
		{Place: "request.header.Authorization", Want: "(missing)", Got: "SECRET"},
		{Place: "response.body.$.total", Want: "1", Got: "2"},
	})
	want := []Difference{
		{Place: "response.body.$.user.token", Want: "td1_k1_00", Got: "(hidden)"},
		{Place: "request.header.Authorization", Want: "(missing)", Got: "(hidden)"},
		{Place: "response.body.$.total", Want: "1", Got: "2"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
