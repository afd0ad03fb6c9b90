package weir

import (
	"testing"

	"github.com/weir-gateway/weir/accounting"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

func TestEveryClassIsKnown(t *testing.T) {
	for number := range weirv1.ServiceClass_name {
		c := weirv1.ServiceClass(number)
		if got := servedClass(c); classes[got] != c || accounting.ServedClass(string(got)) != got {
			t.Errorf("%s is %q", c, got)
		}
	}
	if got := servedClass(99); got != accounting.ServiceOther {
		t.Errorf("a class of a later version is %q", got)
	}
}
