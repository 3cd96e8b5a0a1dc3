as charts/floe-observability/templates/_helpers.tpl
