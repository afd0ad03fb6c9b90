package gateway

import (
	"fmt"
	"slices"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
)

// fitClass checks the class of service that is asked for. The standard one can be
// had of whoever cannot be asked for any: it serves as it does. Another one is
// never left out: it is a price.
func (a *attempt) fitClass(req *backend.Request, can backend.Capabilities) error {
	switch c := req.ServiceClass; {
	case slices.Contains(can.Classes, c):
	case c == "", c == accounting.ServiceStandard:
		req.ServiceClass = can.ServiceClass
	default:
		return unsupported("config.service_class", fmt.Sprintf("model %q is on a backend that cannot be asked for class of service %s: leave it out, or name another model", a.call.Model, c))
	}
	return nil
}
