package canary

import (
	"os"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"
)

// writeDescriptors writes a FileDescriptorSet of a service with one method: of
// its messages fields 1 and 2, texts, have these names, and field 3 is such a
// message.
func writeDescriptors(t testing.TB, file, service, method, first, second string) {
	t.Helper()
	one := func(name string, number int32, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{Name: &name, Number: &number, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(), Type: kind.Enum()}
	}
	const text, message = descriptorpb.FieldDescriptorProto_TYPE_STRING, descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	fields := []*descriptorpb.FieldDescriptorProto{one(first, 1, text), one(second, 2, text), one("of", 3, message)}
	kind := "." + service + ".Data"
	fields[2].TypeName = &kind
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{{
		Name: proto.String(service + ".proto"), Package: proto.String(service), Syntax: proto.String("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: proto.String("Data"), Field: fields}},
	}, {
		Name: proto.String(service + "_service.proto"), Package: proto.String("shop"), Syntax: proto.String("proto3"), Dependency: []string{service + ".proto"},
		Service: []*descriptorpb.ServiceDescriptorProto{{Name: &service, Method: []*descriptorpb.MethodDescriptorProto{{Name: &method, InputType: &kind, OutputType: &kind}}}},
	}}}
	b, err := proto.Marshal(set)
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
