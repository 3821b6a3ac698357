package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
)

// controls does what faults must never do, and fails when the check stays
// content: an acknowledged tape that is not in the archive, a row that is gone,
// a row that is there twice, an answered request that nobody recorded.
func controls(ctx context.Context, s *stack, l *load) error {
	conn, err := pgx.Connect(ctx, s.database.dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	sql := func(statement string) func() error {
		return func() error { _, err := conn.Exec(ctx, statement); return err }
	}
	const one = "(select id from exchanges where path like '/items/%' order by id limit 1)"
	for _, control := range []struct {
		name       string
		harm, undo func() error
	}{
		{"a row twice", sql("insert into exchanges select * from exchanges where id = " + one),
			sql("delete from exchanges where ctid in (select max(ctid) from exchanges where id = " + one + ") and id = " + one)},
		{"a request that nobody recorded", func() error { l.answered[-1] = answer{life: s.captures[0].name + "-1"}; return nil },
			func() error { delete(l.answered, -1); return nil }},
		{"poison without a letter", func() error { s.poisons.acked = append(s.poisons.acked, true); return nil },
			func() error { s.poisons.acked = s.poisons.acked[:len(s.poisons.acked)-1]; return nil }},
		{"an object that is gone", s.hideTape, s.showTape},
		{"a row that is gone", sql("delete from exchanges where id = " + one), func() error { return nil }},
	} {
		if err := control.harm(); err != nil {
			return fmt.Errorf("control %q: %w", control.name, err)
		}
		e, err := s.look(ctx)
		if err != nil {
			return fmt.Errorf("control %q: %w", control.name, err)
		}
		found := check(s.oracle(l), e)
		if len(found) == 0 {
			return fmt.Errorf("control %q: the check noticed nothing", control.name)
		}
		fmt.Printf("control, %s: noticed: %s\n", control.name, found[0])
		if err := control.undo(); err != nil {
			return fmt.Errorf("control %q: %w", control.name, err)
		}
	}
	return nil
}

// hideTape takes the largest object away, as if it had been acknowledged before
// it was written.
func (s *stack) hideTape() error {
	largest, size := "", int64(0)
	root := filepath.Join(s.folder, "s3", bucket)
	if s.s3 == nil {
		root = filepath.Join(s.stores(), "archive")
	}
	err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > size {
			largest, size = path, info.Size()
		}
		return err
	})
	if err != nil {
		return err
	}
	s.hidden = largest
	return os.Rename(largest, filepath.Join(s.stores(), "hidden"))
}

func (s *stack) showTape() error {
	return os.Rename(filepath.Join(s.stores(), "hidden"), s.hidden)
}
