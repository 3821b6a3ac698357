package redact

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"sync"
	"time"

	"tapedeck/wire"
)

const keyBytes = 32

// Key is the secret of an installation. It is never logged and never leaves
// capture.
type Key struct {
	secret    []byte
	notBefore time.Time // zero: from the beginning
	id        string
	prefix    string
	macs      [classes]sync.Pool // of *tokenMAC
}

func newKey(secret []byte) *Key {
	k := &Key{secret: secret}
	sum := k.sum("key id")
	k.id = hex.EncodeToString(sum[:4])
	k.prefix = wire.TokenPrefix + k.id + "_"
	for c := range k.macs {
		secret := k.sum("class\x00" + Class(c).String())
		k.macs[c].New = func() any { return &tokenMAC{Hash: hmac.New(sha256.New, secret)} }
	}
	return k
}

// ID names the key without saying anything about it.
func (k *Key) ID() string { return k.id }

// NotBefore is when the key becomes active; zero: it was from the beginning.
func (k *Key) NotBefore() time.Time { return k.notBefore }

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

// tokenMAC is a keyed hash with room for its sum.
type tokenMAC struct {
	hash.Hash
	sum [sha256.Size]byte
}

// begin and finish make the token of a value that comes in pieces.
func (k *Key) begin(c Class) *tokenMAC {
	mac := k.macs[c].Get().(*tokenMAC)
	mac.Reset()
	return mac
}

func (k *Key) finish(c Class, mac *tokenMAC) []byte {
	mac.Sum(mac.sum[:0])
	token := make([]byte, 0, len(k.prefix)+32)
	token = hex.AppendEncode(append(token, k.prefix...), mac.sum[:16])
	k.macs[c].Put(mac)
	return token
}

// hash is the keyed hash of a value of a class.
func (k *Key) hash(c Class, value []byte) (sum [sha256.Size]byte) {
	mac := k.begin(c)
	mac.Write(value)
	mac.Sum(mac.sum[:0])
	sum = mac.sum
	k.macs[c].Put(mac)
	return sum
}
