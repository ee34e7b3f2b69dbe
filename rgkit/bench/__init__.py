"""How fast everything is: `blocks` of training, the `book`, the `suite` of both, the `page`."""
