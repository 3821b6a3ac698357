package capture

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is the service's, read again when its files change.
type certificate struct {
	cert, key string // files
	log       *slog.Logger

	mu      sync.Mutex
	loaded  *tls.Certificate
	stamp   string
	checked time.Time
}

// certificateAge is how often the files are looked at, at most.
const certificateAge = time.Second

func openCertificate(cert, key string, log *slog.Logger) (*certificate, error) {
	if cert == "" || key == "" {
		return nil, errors.New("certificate of the service: one of certificate and key is not named")
	}
	c := &certificate{cert: cert, key: key, log: log}
	stamp, err := c.look()
	if err == nil {
		err = c.load(stamp)
	}
	if err != nil {
		return nil, fmt.Errorf("certificate of the service: %w", err)
	}
	return c, nil
}

// look tells versions of the files apart.
func (c *certificate) look() (stamp string, err error) {
	for _, file := range []string{c.cert, c.key} {
		info, err := os.Stat(file)
		if err != nil {
			return "", err
		}
		stamp += fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size(), "\n")
	}
	return stamp, nil
}

func (c *certificate) load(stamp string) error {
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return err
	}
	c.loaded, c.stamp = &pair, stamp
	return nil
}

// get is the certificate of now. As long as new files can't be used (one is
// written before the other), it is the last one that could.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= certificateAge {
		c.checked = now
		c.reload()
	}
	return c.loaded, nil
}

func (c *certificate) reload() {
	stamp, err := c.look()
	if err == nil && stamp != c.stamp {
		if err = c.load(stamp); err == nil {
			c.log.Info("certificate of the service read again", "file", c.cert, "until", c.loaded.Leaf.NotAfter)
		}
	}
	if err != nil {
		c.log.Warn("certificate of the service can't be read; the last one is used", "error", err)
	}
}
