package redact

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// KeyVariable is the environment variable that holds the keys themselves; it
// wins over the file.
const KeyVariable = "TAPEDECK_REDACTION_KEY"

// maxKeyFile bounds what is read.
const maxKeyFile = 64 << 10

// OpenKeys reads the keys from the environment, where commas may stand for
// ends of lines, else from the file at path, which is made (mode 0600) with one
// key at first use.
func OpenKeys(path string) (*Keys, error) {
	if s := os.Getenv(KeyVariable); s != "" {
		keys, err := ParseKeys(strings.ReplaceAll(s, ",", "\n"))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", KeyVariable, err)
		}
		return keys, nil
	}
	keys, err := readKeyFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeKeyFile(path); err == nil {
			keys, err = readKeyFile(path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open redaction key: %w", err)
	}
	return keys, nil
}

func readKeyFile(path string) (*Keys, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, err
	}
	keys, err := ParseKeys(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return keys, nil
}

// makeKeyFile links the finished file into place: of two processes that start
// at once, both get the key of the one that was first.
func makeKeyFile(path string) error {
	temporary, err := writeBeside(path, hex.EncodeToString(randomSecret())+"\n")
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	if err := os.Link(temporary, path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func randomSecret() []byte {
	secret := make([]byte, keyBytes)
	rand.Read(secret) // never fails (crypto/rand)
	return secret
}

// writeBeside writes a file of mode 0600 into the folder of path.
func writeBeside(path, text string) (name string, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".redaction-*") // mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}

// line is how a key stands in the file.
func (k *Key) line() string {
	if k.notBefore.IsZero() {
		return hex.EncodeToString(k.secret) + "\n"
	}
	return k.id + " " + k.notBefore.UTC().Format(time.RFC3339) + " " + hex.EncodeToString(k.secret) + "\n"
}

// AddKey adds a new key to the file at path, which must be there. It is
// appended: of two that are added at once none is lost.
func AddKey(path string, notBefore time.Time) (*Key, error) {
	keys, err := readKeyFile(path)
	if err != nil {
		return nil, fmt.Errorf("add redaction key: %w", err)
	}
	k := newKey(randomSecret())
	k.notBefore = notBefore.UTC().Truncate(time.Second)
	if last := keys.list[len(keys.list)-1]; !k.notBefore.After(last.notBefore) {
		return nil, fmt.Errorf("add redaction key: key %s begins at %s, and a new one must begin later", last.id, last.notBefore.Format(time.RFC3339))
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("add redaction key: %w", err)
	}
	_, err = f.WriteString("\n" + k.line()) // the file may lack its last line's end
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return nil, fmt.Errorf("add redaction key: %w", err)
	}
	return k, nil
}

// RemoveKey takes a key out of the file at path, for ever. The active one
// can't be: tokens are being made with it.
func RemoveKey(path, id string, now time.Time) error {
	keys, err := readKeyFile(path)
	if err != nil {
		return fmt.Errorf("remove redaction key: %w", err)
	}
	if keys.ByID(id) == nil {
		return fmt.Errorf("remove redaction key: there is no key %s", id)
	}
	if active, _ := keys.At(now); active != nil && active.id == id {
		return fmt.Errorf("remove redaction key: key %s is active", id)
	}
	text := ""
	for _, k := range keys.list {
		if k.id != id {
			text += k.line()
		}
	}
	temporary, err := writeBeside(path, text)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return fmt.Errorf("remove redaction key: %w", err)
	}
	return nil
}
