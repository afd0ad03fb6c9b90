package idempotency_test

import (
	"bytes"
	"testing"

	"github.com/weir-gateway/weir/server/idempotency"
)

func TestAKeyIsOfItsProject(t *testing.T) {
	list := map[[32]byte]string{}
	for _, k := range [][3]string{
		{"acme", "default", "k"}, {"acme", "other", "k"}, {"beta", "default", "k"}, {"acme", "default", "k2"},
		{"acmed", "efault", "k"}, {"", "acmedefault", "k"},
	} {
		id := idempotency.NewKey(k[0], k[1], k[2]).ID
		if other, taken := list[id]; taken {
			t.Errorf("%q has the id of %q", k, other)
		}
		list[id] = k[0] + "/" + k[1] + "/" + k[2]
		if again := idempotency.NewKey(k[0], k[1], k[2]); again.ID != id {
			t.Errorf("%q has two ids", k)
		}
	}
}

func TestOnlyTheKeyOpens(t *testing.T) {
	answer := []byte("the answer is 42")
	k := idempotency.NewKey("acme", "default", "k")
	sealed, err := k.Seal("call-1", answer)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := k.Seal("call-1", answer)
	if bytes.Equal(sealed, again) || bytes.Contains(sealed, []byte("42")) {
		t.Error("it is not sealed, or the same twice")
	}
	if got, err := k.Open("call-1", sealed); err != nil || !bytes.Equal(got, answer) {
		t.Errorf("it opens as %q, %v", got, err)
	}
	for name, other := range map[string]idempotency.Key{
		"key": idempotency.NewKey("acme", "default", "K"), "tenant": idempotency.NewKey("beta", "default", "k"),
	} {
		if got, err := other.Open("call-1", sealed); err == nil {
			t.Errorf("another %s opens it: %q", name, got)
		}
	}
	if _, err := k.Open("call-2", sealed); err == nil {
		t.Error("it opens as another call's")
	}
	for _, damaged := range [][]byte{nil, sealed[:5], sealed[:len(sealed)-1], append([]byte{sealed[0] ^ 1}, sealed[1:]...)} {
		if _, err := k.Open("call-1", damaged); err == nil {
			t.Errorf("%d bytes that are damaged open", len(damaged))
		}
	}
}

func TestTheMarkIsOfWhatIsAsked(t *testing.T) {
	k := idempotency.NewKey("acme", "default", "k")
	other := idempotency.NewKey("acme", "default", "k2")
	mark := k.Mark([]byte("this"))
	if !bytes.Equal(mark, k.Mark([]byte("this"))) || bytes.Equal(mark, k.Mark([]byte("that"))) || bytes.Equal(mark, other.Mark([]byte("this"))) {
		t.Error("marks are not of key and text alone")
	}
}
