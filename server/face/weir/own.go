package weir

import (
	"context"
	"errors"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weir-gateway/weir/server/auth"
	"github.com/weir-gateway/weir/server/face"
)

// ownTenant is the beginning of a name that leaves it to the key whose it is.
const ownTenant = "tenants/-"

// checkFor checks a request as check does. Where its rules do not take tenants/-
// for all tenants, that is the tenant of the caller's key, whose name is put in
// its place.
func (v validation) checkFor(ctx context.Context, req any) error {
	err := v.check(req)
	message, ok := req.(proto.Message)
	var wrong *face.FieldsError
	if !ok || !errors.As(err, &wrong) {
		return err
	}
	field, rest := leavesOpen(message)
	caller, known := auth.FromContext(ctx)
	if field == nil || !known || !slices.ContainsFunc(wrong.Fields, func(f face.Field) bool { return f.Path == string(field.Name()) }) {
		return err
	}
	if caller.IsPlatform() {
		return face.Invalid(string(field.Name()), "the platform's key belongs to no tenant: name the one that is meant (weir commands: --tenant NAME)")
	}
	message.ProtoReflect().Set(field, protoreflect.ValueOfString("tenants/"+caller.Tenant+rest))
	return v.check(req)
}

// leavesOpen is the field of a request whose name begins with tenants/-, and how
// that goes on; nil where none does.
func leavesOpen(req proto.Message) (field protoreflect.FieldDescriptor, rest string) {
	m := req.ProtoReflect()
	for _, name := range []protoreflect.Name{"name", "parent"} {
		field := m.Descriptor().Fields().ByName(name)
		if field == nil || field.Kind() != protoreflect.StringKind {
			continue
		}
		rest, open := strings.CutPrefix(m.Get(field).String(), ownTenant)
		if open && (rest == "" || rest[0] == '/') {
			return field, rest
		}
	}
	return nil, ""
}
