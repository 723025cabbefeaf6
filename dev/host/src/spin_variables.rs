//! `spin:variables`: the values that the manifest gives to a component.

use std::collections::BTreeMap;

use wasmtime::component::{Accessor, HasData};

use crate::bindings::spin::variables::variables::{Error, Host, HostWithStore};
use crate::variables::validate_name;

/// What a component may ask for.
#[derive(Debug)]
pub(crate) struct ComponentVariables {
    /// The component's id, for the message.
    pub(crate) component: String,
    /// Templates are expanded.
    pub(crate) values: BTreeMap<String, String>,
}

impl ComponentVariables {
    fn get(&self, name: &str) -> Result<String, Error> {
        validate_name(name).map_err(|reason| Error::InvalidName(format!("{name:?}: {reason}")))?;
        let undefined = || Error::Undefined(format!("no variable for {:?}.{name:?}", self.component));
        self.values.get(name).cloned().ok_or_else(undefined)
    }
}

/// Names the variables to the linker.
pub(crate) struct HasVariables;

impl HasData for HasVariables {
    type Data<'a> = &'a ComponentVariables;
}

impl Host for &ComponentVariables {}

impl<T: 'static> HostWithStore<T> for HasVariables {
    async fn get(accessor: &Accessor<T, Self>, name: String) -> wasmtime::Result<Result<String, Error>> {
        Ok(accessor.with(|mut access| access.get().get(&name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_components_own_variables_are_known() {
        let values = BTreeMap::from([("dapr_url".to_owned(), "http://localhost:3500".to_owned())]);
        let variables = ComponentVariables { component: "tasks".to_owned(), values };
        assert_eq!(variables.get("dapr_url").unwrap(), "http://localhost:3500");
        assert!(matches!(variables.get("jwt_secret"), Err(Error::Undefined(_))));
        assert!(matches!(variables.get("Not a name"), Err(Error::InvalidName(_))));
    }
}
