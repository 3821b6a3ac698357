package pgtest

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestNew(t *testing.T) {
	var dsn string
	t.Run("fresh", func(t *testing.T) {
		dsn = New(t)
		conn, err := pgx.Connect(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.WithoutCancel(t.Context()))
		var license string
		if err := conn.QueryRow(t.Context(), "show timescaledb.license").Scan(&license); err != nil {
			t.Fatal(err)
		}
		t.Logf("timescaledb.license = %s", license)
	})
	if dsn == "" {
		return // skipped
	}
	if conn, err := pgx.Connect(t.Context(), dsn); err == nil {
		conn.Close(t.Context())
		t.Error("the database is still there after its test")
	}
}

func TestLeftBehind(t *testing.T) {
	now := time.Now()
	for _, test := range []struct {
		name string
		want bool
	}{
		{databaseName(now), false},
		{databaseName(now.Add(-oldest - time.Minute)), true},
		{"tapedeck_test_of_somebody", false},
	} {
		if got := leftBehind(test.name, now); got != test.want {
			t.Errorf("leftBehind(%q) = %v, want %v", test.name, got, test.want)
		}
	}
}
