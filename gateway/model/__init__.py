"""The internal enrolment model: frozen values, standard library only, no I/O."""
