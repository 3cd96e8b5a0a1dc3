module floe-render/conformance/helm/many

go 1.25.0
