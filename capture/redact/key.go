package redact

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"tapedeck/wire"
)

// KeyVariable is the environment variable that holds the key itself; it wins
// over the file.
const KeyVariable = "TAPEDECK_REDACTION_KEY"

const keyBytes = 32

// Key is the secret of an installation. It is never logged and never leaves
// capture.
type Key struct {
	secret []byte
	id     string
	prefix string
	macs   [classes]sync.Pool // of hash.Hash for tokens
}

// ParseKey reads a key of 64 hex digits.
func ParseKey(s string) (*Key, error) {
	secret, err := hex.DecodeString(strings.TrimSpace(s))
	if err != nil || len(secret) != keyBytes {
		return nil, errors.New("read redaction key: it is not 64 hex digits") // never the text itself
	}
	return newKey(secret), nil
}

func newKey(secret []byte) *Key {
	k := &Key{secret: secret}
	sum := k.sum("key id")
	k.id = hex.EncodeToString(sum[:4])
	k.prefix = wire.TokenPrefix + k.id + "_"
	for c := range k.macs {
		secret := k.sum("class\x00" + Class(c).String())
		k.macs[c].New = func() any { return hmac.New(sha256.New, secret) }
	}
	return k
}

// OpenKey reads the key from the environment, else from the file at path,
// which is made (mode 0600) at first use.
func OpenKey(path string) (*Key, error) {
	if s := os.Getenv(KeyVariable); s != "" {
		k, err := ParseKey(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", KeyVariable, err)
		}
		return k, nil
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		b, err = makeKeyFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("open redaction key: %w", err)
	}
	k, err := ParseKey(string(b))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// makeKeyFile links the finished file into place: of two processes that start
// at once, both get the key of the one that was first.
func makeKeyFile(path string) ([]byte, error) {
	secret := make([]byte, keyBytes)
	rand.Read(secret) // never fails (crypto/rand)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".redaction-*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(hex.EncodeToString(secret) + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return nil, err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return os.ReadFile(path)
}

// ID names the key without saying anything about it.
func (k *Key) ID() string { return k.id }

// String hides the key from logs.
func (k *Key) String() string { return "redaction key " + k.id }

// GoString hides the key from logs.
func (k *Key) GoString() string { return k.String() }

func (k *Key) sum(purpose string) []byte {
	mac := hmac.New(sha256.New, k.secret)
	mac.Write([]byte(purpose))
	return mac.Sum(nil)
}

func (k *Key) bodyMAC() hash.Hash {
	mac := hmac.New(sha256.New, k.secret)
	mac.Write([]byte("body\x00"))
	return mac
}

// Token is the token of a credential without a shape: td1_<key id>_<32 hex>,
// 128 bits of HMAC-SHA-256. A token is its own token, and so is the empty value.
func (k *Key) Token(value []byte) []byte {
	if len(value) == 0 || wire.IsToken(string(value)) {
		return value
	}
	return k.token(Credential, value)
}

func (k *Key) token(c Class, value []byte) []byte {
	mac := k.begin(c)
	mac.Write(value)
	return k.finish(c, mac)
}

// begin and finish make the token of a value that comes in pieces.
func (k *Key) begin(c Class) hash.Hash {
	mac := k.macs[c].Get().(hash.Hash)
	mac.Reset()
	return mac
}

func (k *Key) finish(c Class, mac hash.Hash) []byte {
	var sum [sha256.Size]byte
	mac.Sum(sum[:0])
	k.macs[c].Put(mac)
	return k.print(sum)
}

func (k *Key) print(sum [sha256.Size]byte) []byte {
	token := make([]byte, 0, len(k.prefix)+32)
	return hex.AppendEncode(append(token, k.prefix...), sum[:16])
}

// hash is the keyed hash of a value of a class.
func (k *Key) hash(c Class, value []byte) (sum [sha256.Size]byte) {
	mac := k.begin(c)
	mac.Write(value)
	mac.Sum(sum[:0])
	k.macs[c].Put(mac)
	return sum
}
