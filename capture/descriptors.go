package capture

import (
	"context"
	"crypto/x509"
	"log/slog"
	"path/filepath"
	"strings"
	"time"

	"tapedeck/capture/redact"
	"tapedeck/internal/service"
	"tapedeck/wire/grpc"
)

// DescriptorsFolder is where capture keeps the descriptors of gRPC services,
// for readers of the same --data.
func DescriptorsFolder(data string) string { return filepath.Join(data, "descriptors") }

// DescriptorsHint says what a set of descriptors is.
const DescriptorsHint = "a FileDescriptorSet comes from protoc --include_imports --descriptor_set_out=FILE, or buf build -o FILE.binpb"

// keepDescriptors keeps the sets of --grpc-descriptors.
func (c *Config) keepDescriptors(data string) error {
	for _, file := range c.GRPCDescriptors {
		set, err := grpc.ReadSet(file)
		if err == nil {
			_, err = grpc.NewDescriptors(set)
		}
		if err != nil {
			return service.Hint(err, DescriptorsHint)
		}
		if err := grpc.WriteSet(DescriptorsFolder(data), set); err != nil {
			return service.Hint(err, "choose a folder that can be written with --data DIR")
		}
	}
	return nil
}

// knowFields redacts by the names of fields that descriptors in data have.
func knowFields(redactor *redact.Source, data string, log *slog.Logger) {
	sets, err := grpc.ReadSets(DescriptorsFolder(data))
	var known *grpc.Descriptors
	if err == nil && len(sets) > 0 {
		known, err = grpc.NewDescriptors(sets...)
	}
	switch {
	case err != nil:
		log.Error("fields of gRPC are redacted by their looks alone: descriptors that were kept can't be read", "folder", DescriptorsFolder(data), "error", err)
	case known != nil:
		redactor.Know(known.Message)
	}
}

// Pauses between questions to a server that does not answer: it may not be up.
const (
	firstReflection   = 200 * time.Millisecond
	slowestReflection = 30 * time.Second
	reflectionTimeout = 10 * time.Second
)

// reflect asks a server of --grpc-reflection until it has answered. Nothing
// else makes capture send anything of its own.
func (s *Service) reflect(ctx context.Context, address string) {
	for pause := firstReflection; ; pause = min(2*pause, slowestReflection) {
		err := s.askReflection(ctx, address)
		if err == nil {
			return
		}
		if pause == firstReflection {
			s.log.Warn("no descriptors from the reflection service yet; trying again", "address", address, "error", err)
		}
		if !service.Sleep(ctx, pause) {
			return
		}
	}
}

func (s *Service) askReflection(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, reflectionTimeout)
	defer cancel()
	var trust *x509.CertPool
	if strings.HasPrefix(address, "https://") {
		terms, err := upstreamTLS(s.cfg.UpstreamCA)
		if err != nil {
			return err
		}
		trust = terms.RootCAs
	}
	set, err := grpc.Reflect(ctx, address, trust)
	if err != nil {
		return err
	}
	if err := grpc.WriteSet(DescriptorsFolder(s.data), set); err != nil {
		return err
	}
	knowFields(s.recorder.redactor, s.data, s.log)
	s.log.Info("keeping descriptors of gRPC services", "address", address, "files", len(set.File))
	return nil
}
