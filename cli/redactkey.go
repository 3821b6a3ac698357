package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"tapedeck/capture/redact"
	"tapedeck/internal/service"
)

type redactKey struct {
	List    keyList    `cmd:"" default:"withargs" help:"List the keys: ids and times, never a key itself."`
	Rotate  keyRotate  `cmd:"" help:"Add a new key that becomes active at a time: captures turn to it then, by themselves, and a session that spans that time is cut there."`
	Destroy keyDestroy `cmd:"" help:"Take a key that is not active out of the file, for ever: nobody can link its tokens with anything again."`
}

// keyFlags say where the keys are.
type keyFlags struct {
	Data string `placeholder:"DIR" env:"TAPEDECK_DATA" default:".tapedeck" help:"Folder of the redaction key."`
	Key  string `name:"redaction-key" placeholder:"FILE" help:"File of the redaction keys, made at first use. Default: redaction.key in --data."`
}

func (f *keyFlags) file() string { return cmp.Or(f.Key, filepath.Join(f.Data, "redaction.key")) }

func (f *keyFlags) open() (*redact.Keys, error) {
	keys, err := redact.OpenKeys(f.file())
	return keys, service.Hint(err, "name a file with --redaction-key FILE; docs/redaction.md has its form")
}

// openExisting is open for those that look up what was recorded: a key made
// now has recorded nothing.
func (f *keyFlags) openExisting() (*redact.Keys, error) {
	if _, err := os.Stat(f.file()); err != nil && os.Getenv(redact.KeyVariable) == "" {
		return nil, service.Hint(err, "name the key of the recording with --redaction-key FILE")
	}
	return f.open()
}

// openFile is open for those that change the file.
func (f *keyFlags) openFile() (*redact.Keys, error) {
	if os.Getenv(redact.KeyVariable) != "" {
		err := errors.New("the keys are those of " + redact.KeyVariable + ", which can't be changed from here")
		return nil, service.Hint(err, "unset it and change the file; then make the variable of the file, with commas for the ends of lines")
	}
	return f.open()
}

type keyList struct{ keyFlags }

func (c *keyList) Run(env *Env) error {
	keys, err := c.open()
	if err != nil {
		return err
	}
	now := time.Now()
	active, _ := keys.At(now)
	t := &table{head: []string{"KEY", "NOT BEFORE", ""}}
	for _, k := range keys.All() {
		from, state := "the beginning", "old: for what was recorded with it"
		if !k.NotBefore().IsZero() {
			from = k.NotBefore().Local().Format("2006-01-02 15:04:05")
		}
		switch {
		case k == active:
			state = "active"
		case k.NotBefore().After(now):
			state = "next"
		}
		t.add(cell{text: k.ID(), color: bold}, cell{text: from}, cell{text: state})
	}
	t.print(env)
	return nil
}

type keyRotate struct {
	keyFlags
	In time.Duration `default:"1m" placeholder:"DURATION" help:"When it becomes active. All captures need the new file by then. Default: ${default}."`
	At time.Time     `placeholder:"TIME" format:"2006-01-02T15:04:05Z07:00" help:"The same as a time, like 2026-12-31T00:00:00Z."`
}

func (c *keyRotate) Run(env *Env) error {
	if _, err := c.openFile(); err != nil {
		return err
	}
	at := c.At
	if at.IsZero() {
		at = time.Now().Add(c.In)
	}
	k, err := redact.AddKey(c.file(), at)
	if err != nil {
		return service.Hint(err, "name a later time with --at, or take that key away: tapedeck redact key destroy ID")
	}
	fmt.Fprintf(env.Stdout, "key %s is active from %s on, in %s\n", k.ID(), k.NotBefore().Local().Format("2006-01-02 15:04:05"), c.file())
	fmt.Fprintln(env.Stdout, "captures that read this file turn by themselves; give it to all others whose traffic is to be linked, before that time")
	return nil
}

type keyDestroy struct {
	keyFlags
	ID string `arg:"" help:"Id of the key."`
}

func (c *keyDestroy) Run(env *Env) error {
	if _, err := c.openFile(); err != nil {
		return err
	}
	if err := redact.RemoveKey(c.file(), c.ID, time.Now()); err != nil {
		return service.Hint(err, "tapedeck redact key lists them; an active one is followed by another first: tapedeck redact key rotate")
	}
	fmt.Fprintf(env.Stdout, "key %s is no longer in %s: see that there is no copy of it\n", c.ID, c.file())
	return nil
}
