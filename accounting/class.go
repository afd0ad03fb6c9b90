package accounting

import (
	"fmt"
	"slices"
)

// A ServiceClass is how soon, and at which price, a provider serves a call. The
// zero class is one that nobody named.
type ServiceClass string

// The classes. Their names are stored, so they never change. Other is one that
// has served and has no name here.
const (
	ServiceStandard ServiceClass = "standard"
	ServiceFlex     ServiceClass = "flex"     // later, for less
	ServicePriority ServiceClass = "priority" // sooner, for more
	ServiceScale    ServiceClass = "scale"    // of capacity that was bought ahead
	ServiceBatch    ServiceClass = "batch"    // within a day, for less
	ServiceOther    ServiceClass = "other"
)

var pricedClasses = []ServiceClass{ServiceFlex, ServicePriority, ServiceScale, ServiceBatch}

// PricedClasses are those that may have prices beside the standard ones.
func PricedClasses() []ServiceClass { return slices.Clone(pricedClasses) }

// ParsePricedClass finds one of them by its name.
func ParsePricedClass(name string) (ServiceClass, error) {
	if c := ServiceClass(name); slices.Contains(pricedClasses, c) {
		return c, nil
	}
	return "", fmt.Errorf("%q is no class of service with a price of its own: known are %v; the standard one has the price's own", name, pricedClasses)
}

// ServedClass is the class that a provider says has served, by its name where
// that is one of ours.
func ServedClass(name string) ServiceClass {
	switch c := ServiceClass(name); {
	case c == "" || c == ServiceStandard || slices.Contains(pricedClasses, c):
		return c
	}
	return ServiceOther
}
