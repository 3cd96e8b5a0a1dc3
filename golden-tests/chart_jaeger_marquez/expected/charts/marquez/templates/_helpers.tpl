as charts/marquez/templates/_helpers.tpl
