package grpc

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	// Files that a set may import without holding them.
	_ "google.golang.org/protobuf/types/known/anypb"
	_ "google.golang.org/protobuf/types/known/durationpb"
	_ "google.golang.org/protobuf/types/known/emptypb"
	_ "google.golang.org/protobuf/types/known/fieldmaskpb"
	_ "google.golang.org/protobuf/types/known/structpb"
	_ "google.golang.org/protobuf/types/known/timestamppb"
	_ "google.golang.org/protobuf/types/known/wrapperspb"
)

// Bounds of descriptors.
const (
	maxDescriptors = 64 << 20 // of a file
	maxFiles       = 10_000   // .proto files
)

// Descriptors know the methods of services and the fields of messages. None
// (nil) know nothing.
type Descriptors struct {
	files *protoregistry.Files
	types *dynamicpb.Types
}

// NewDescriptors joins sets. Of a .proto file that is in several of them the
// first one counts.
func NewDescriptors(sets ...*descriptorpb.FileDescriptorSet) (*Descriptors, error) {
	all, have := &descriptorpb.FileDescriptorSet{}, map[string]bool{}
	for _, set := range sets {
		for _, f := range set.GetFile() {
			if !have[f.GetName()] {
				have[f.GetName()] = true
				all.File = append(all.File, f)
			}
		}
	}
	if len(all.File) > maxFiles {
		return nil, fmt.Errorf("read descriptors: more than %d files", maxFiles)
	}
	for i := 0; i < len(all.File); i++ { // it grows
		for _, name := range all.File[i].GetDependency() {
			if known, err := protoregistry.GlobalFiles.FindFileByPath(name); err == nil && !have[name] {
				have[name] = true
				all.File = append(all.File, protodesc.ToFileDescriptorProto(known))
			}
		}
	}
	files, err := protodesc.NewFiles(all)
	if err != nil {
		return nil, fmt.Errorf("read descriptors: %w", err)
	}
	return &Descriptors{files, dynamicpb.NewTypes(files)}, nil
}

// ReadSet reads a FileDescriptorSet, as protoc --descriptor_set_out and buf
// build write it.
func ReadSet(file string) (*descriptorpb.FileDescriptorSet, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxDescriptors {
		return nil, fmt.Errorf("read %s: longer than %d MiB", file, maxDescriptors>>20)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(raw, set); err != nil || len(set.File) == 0 {
		return nil, errors.Join(fmt.Errorf("read %s: it is no FileDescriptorSet", file), err)
	}
	return set, nil
}

// setPattern is how the sets of a folder are called.
const setPattern = "*.descriptors"

// WriteSet keeps a set in a folder, from which ReadSets takes it.
func WriteSet(folder string, set *descriptorpb.FileDescriptorSet) error {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
	if err == nil {
		err = os.MkdirAll(folder, 0o755)
	}
	if err != nil {
		return fmt.Errorf("keep descriptors: %w", err)
	}
	name := filepath.Join(folder, fmt.Sprintf("%x", sha256.Sum256(raw))[:16]+setPattern[1:])
	if err := os.WriteFile(name+".new", raw, 0o644); err != nil {
		return fmt.Errorf("keep descriptors: %w", err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("keep descriptors: %w", err)
	}
	return nil
}

// ReadSets reads the sets of a folder, the newest first; there may be none.
func ReadSets(folder string) ([]*descriptorpb.FileDescriptorSet, error) {
	names, err := newestFirst(folder)
	if err != nil {
		return nil, fmt.Errorf("read descriptors: %w", err)
	}
	var sets []*descriptorpb.FileDescriptorSet
	for _, name := range names {
		set, err := ReadSet(name)
		if err != nil {
			return nil, err
		}
		sets = append(sets, set)
	}
	return sets, nil
}

// newestFirst are the files of a folder's sets.
func newestFirst(folder string) ([]string, error) {
	names, err := filepath.Glob(filepath.Join(folder, setPattern))
	if err != nil {
		return nil, err
	}
	at := map[string]time.Time{}
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			at[name] = info.ModTime()
		}
	}
	slices.SortStableFunc(names, func(a, b string) int { return at[b].Compare(at[a]) })
	return names, nil
}

// Message is what a side of a method sends; nil where it is not known.
func (d *Descriptors) Message(path string, request bool) protoreflect.MessageDescriptor {
	service, name, ok := splitPath(path)
	if d == nil || !ok {
		return nil
	}
	found, err := d.files.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil
	}
	s, _ := found.(protoreflect.ServiceDescriptor)
	if s == nil {
		return nil
	}
	method := s.Methods().ByName(protoreflect.Name(name))
	switch {
	case method == nil:
		return nil
	case request:
		return method.Input()
	}
	return method.Output()
}
