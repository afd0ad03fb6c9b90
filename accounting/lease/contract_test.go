package lease_test

import (
	"testing"

	"github.com/weir-gateway/weir/accounting/lease"
	"github.com/weir-gateway/weir/accounting/lease/leasetest"
)

func TestModelKeepsTheContract(t *testing.T) {
	leasetest.Run(t, func(*testing.T) leasetest.Rig { return lease.NewModelRig() })
}
